"""What records for machines are made of: types of fields, and the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from mkdocs_dsocr.layers.figures import FIGURES

Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1 + 1e-9)]
"""Of a whole; sums of floats may exceed it by their rounding."""
Stage = Literal["vision", "projector", "prefill", "decode", "other"]


class Record(BaseModel):
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
