"""What scenarios must not ask of a model: as workload files must not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from mkdocs_dsocr.inputs import InputError, ModelConfig
from mkdocs_dsocr.models import (
    check_autocast,
    check_bfloat16,
    check_pages,
    check_sides,
    check_text,
)
from mkdocs_dsocr.sweep.columns import Array, by_code, codes

SOURCE: Final = "sweep"


def check_scenarios(config: ModelConfig, dims: Mapping[str, Array]) -> None:
    """Refuse scenarios of which a workload file would be refused.

    Values without effect are allowed, as some rows of a grid have them.

    Parameters
    ----------
    config
        The model.
    dims
        Every workload dimension: a number or code for each row.

    Raises
    ------
    InputError
        If the model does not know a mode or a size, or a prompt is empty.
    """
    is_autocast = dims["precision_mode"] == codes("precision_mode")["autocast"]
    if is_autocast.any():
        check_autocast(config, SOURCE)
        for code in np.unique(dims["activation_dtype"][is_autocast]).tolist():
            check_bfloat16(by_code("activation_dtype")[code], SOURCE)
    check_pages(config, dims["pages_per_prompt"], SOURCE)
    has_image, has_crops = dims["text_only"] == 0, dims["crop_mode"] == 1
    _check_text_only({name: dims[name][~has_image] for name in ("text_tokens", "pages_per_prompt")})
    sides = {
        "image_size": dims["image_size"][has_image],
        "base_size": dims["base_size"][has_image & has_crops],
    }
    check_sides(config, sides, SOURCE)


def _check_text_only(dims: Mapping[str, Array]) -> None:
    """Refuse pages without images in one prompt, and prompts without an image or text."""
    if (most := dims["pages_per_prompt"].max(initial=1)) > 1:
        raise InputError(SOURCE, "pages_per_prompt", f"{most:,}", "1 with text_only: true")
    check_text(dims["text_tokens"], SOURCE)
