"""A layer with symbols: one object for layers that differ in dimensions alone."""

from __future__ import annotations

from typing import Any

import pytest

from mkdocs_dsocr.layers.layer import Step, dim, layer
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.quantities import Quantity, Symbol


@layer
class _Chosen(BaseLayer):
    """A layer with an option of any kind."""

    width: Quantity = dim("d", "width")
    option: Any = None

    def forward(self) -> Any:
        steps: tuple[Step, ...] = ()
        yield from steps


def test_dimensions_make_no_difference() -> None:
    assert _Chosen(width=1).symbolic() is _Chosen(width=2).symbolic()
    assert _Chosen(width=1).symbolic().width == Symbol("d")


@pytest.mark.parametrize("other", [True, 1.0, 2, None, "1", [1]])
def test_other_fields_stay_as_they_are(other: object) -> None:
    one, another = _Chosen(width=1, option=1).symbolic(), _Chosen(width=1, option=other).symbolic()
    assert another is not one
    assert another.option == other
    assert type(another.option) is type(other)
