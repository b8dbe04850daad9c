"""From a page to tokens: views, the grid of tiles, and how many tokens they make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from mkdocs_dsocr.inputs import constants
from mkdocs_dsocr.quantities import (
    ceil_div,
    equal,
    exact_div,
    less,
    maximum,
    ratio,
    select,
)


def grids(max_tiles: int, min_tiles: int = constants.MIN_TILES) -> list[tuple[int, int]]:
    """Return the grids that the rule chooses from, the fewest tiles first."""
    sides = range(1, max_tiles + 1)
    every = ((w * h, w, h) for w in sides for h in range(1, max_tiles // w + 1))
    return [(w, h) for tiles, w, h in sorted(every) if tiles >= min_tiles]


def crop_grid(
    width: Any,
    height: Any,
    max_tiles: Any = constants.MAX_RULE_TILES,
    most: int | None = None,
    tile: int = constants.TILE_SIZE,
    min_tiles: int = constants.MIN_TILES,
    *,
    cuts_small_pages: bool = False,
) -> tuple[Any, Any]:
    """Return the grid of local views that the model cuts a page into.

    The candidates are all grids of `min_tiles` to `max_tiles` tiles, the fewest first; the one
    whose aspect ratio is closest to the page's wins. On an exact tie a later
    candidate wins if the page has more than half the area of its tiles.

    Parameters
    ----------
    width, height
        The page, in px.
    max_tiles
        The most tiles of a grid.
    most
        The largest value of `max_tiles`, where it is no integer.
    tile
        Side of a tile, px.
    min_tiles
        The fewest tiles of a grid.
    cuts_small_pages
        Whether a page that fits one tile is cut too.
    """
    (best_w, best_h), *others = grids(max_tiles if most is None else most, min_tiles)
    smallest = _distance(width, height, best_w, best_h)
    for w, h in others:
        difference = _distance(width, height, w, h)
        is_large = less(0.5 * tile * tile * w * h, width * height)
        wins = maximum(less(difference, smallest), equal(difference, smallest) * is_large)
        wins *= less(w * h, max_tiles + 1)
        best_w, best_h = select(wins, w, best_w), select(wins, h, best_h)
        smallest = select(wins, difference, smallest)
    if cuts_small_pages:
        return best_w, best_h
    fits = less(width, tile + 1) * less(height, tile + 1)
    return select(fits, 1, best_w), select(fits, 1, best_h)


def _distance(width: Any, height: Any, w: int, h: int) -> Any:
    page, grid = ratio(width, height), w / h
    return maximum(page - grid, grid - page)


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


class Layout(NamedTuple):
    """How many tokens views make.

    Attributes
    ----------
    of_global
        From the side of the global view, px; a separator included.
    of_local
        From the side of a local view, px, and local views per row and per column.
    """

    of_global: Callable[[Any], Any]
    of_local: Callable[[Any, Any, Any], Any]


ROWS: Final = Layout(global_tokens, local_tokens)
"""A token for each feature, with a newline at the end of each row."""


def has_few_queries(view: Any) -> Any:
    """Return whether DeepSeek-OCR-2 reads a view with the smaller bank of queries."""
    return less(features_a_side(view) ** 2, constants.OCR2_QUERIES[0] + 1)


def queries(view: Any) -> Any:
    """Return the queries that DeepSeek-OCR-2 reads a view with, and so its tokens."""
    return select(has_few_queries(view), *constants.OCR2_QUERIES)


QUERIES: Final = Layout(
    lambda view: queries(view) + 1, lambda view, tiles_w, tiles_h: tiles_w * tiles_h * queries(view)
)
"""A token for each query."""

SQUARES: Final = Layout(
    lambda view: features_a_side(view) ** 2,
    lambda view, tiles_w, tiles_h: tiles_w * tiles_h * features_a_side(view) ** 2,
)
"""A token for each feature, and no others."""
