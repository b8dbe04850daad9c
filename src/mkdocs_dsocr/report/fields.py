"""What records for machines are made of: types of fields, and the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from mkdocs_dsocr.inputs.errors import ContradictionError, repr_short
from mkdocs_dsocr.layers.figures import FIGURES
from mkdocs_dsocr.resources import Documented


def _countable(value: int) -> int:
    if value > MOST:
        raise ContradictionError("", repr_short(value), f"at most {MOST:.0e}")
    return value


MOST: Final = 10**300
"""Larger counts have no ratio to others: floats end there."""
Count = Annotated[int, Field(ge=0), AfterValidator(_countable)]
Amount = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1 + 1e-9)]
"""Of a whole; sums of floats may exceed it by their rounding."""
Stage = Literal["vision", "projector", "prefill", "decode", "other"]


class Record(Documented, BaseModel):
    """What a file for machines is made of: nothing unknown, no NaN."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=()
    )


if TYPE_CHECKING:

    class Integers(Record):
        """The figures of :data:`mkdocs_dsocr.layers.figures.FIGURES`, exact."""

        def __getattr__(self, key: str) -> int: ...

else:
    Integers = create_model(
        "Integers",
        __base__=Record,
        __doc__="Exact counts. Sums over all calls in the workload, except where stated.",
        **{
            key: (Count, Field(description=f.description))
            for key, f in FIGURES.items()
            if f.in_report
        },
    )
