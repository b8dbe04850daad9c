"""From a page to tokens: views, the grid of tiles, and how many tokens they make."""

from __future__ import annotations

from typing import Any

from mkdocs_dsocr.inputs import constants
from mkdocs_dsocr.quantities import ceil_div, exact_div


def crop_grid(width: int, height: int) -> tuple[int, int]:
    """Return the grid of local views that the model cuts a page into.

    The candidates are all grids of 2 to 9 tiles, the fewest first; the one
    whose aspect ratio is closest to the page's wins. On an exact tie a later
    candidate wins if the page has more than half the area of its tiles. A page
    that fits one tile is not cut.

    Parameters
    ----------
    width, height
        The page, in px.
    """
    tile = constants.TILE_SIZE
    if width <= tile and height <= tile:
        return (1, 1)
    sides = range(1, constants.MAX_RULE_TILES + 1)
    candidates = sorted(
        (w * h, w, h)
        for w in sides
        for h in sides
        if constants.MIN_TILES <= w * h <= constants.MAX_RULE_TILES
    )
    best, smallest = (1, 1), float("inf")
    for tiles, w, h in candidates:
        difference = abs(width / height - w / h)
        large_enough = width * height > 0.5 * tile * tile * tiles
        if difference < smallest or (difference == smallest and large_enough):
            best, smallest = (w, h), difference
    return best


def patches_a_side(view: Any) -> Any:
    """Return SAM's patches along one side of a view of `view` px, a multiple of the patch."""
    return exact_div(view, constants.SAM_PATCH)


def features_a_side(view: Any) -> Any:
    """Return the features along one side of a view, after SAM's neck halves it twice."""
    return ceil_div(patches_a_side(view), constants.DOWNSAMPLE)


def global_tokens(view: Any) -> Any:
    """Return the tokens of a global view: features, a newline a row, one separator."""
    side = features_a_side(view)
    return (side + 1) * side + 1


def local_tokens(view: Any, tiles_w: Any, tiles_h: Any) -> Any:
    """Return the tokens of a grid of local views: one map with a newline a row."""
    side = features_a_side(view)
    return (side * tiles_w + 1) * (side * tiles_h)
