"""Types of fields that the input files share, and the limits of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from mkdocs_dsocr.inputs.errors import ContradictionError, repr_short
from mkdocs_dsocr.resources import Documented


class Strict(Documented, BaseModel):
    """Base of everything that is read from a file: no coercion, no unknown keys, no NaN."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        defer_build=True,  # a command builds only the validators that it uses
    )


@dataclass(frozen=True)
class Limit:
    """The whole numbers that are allowed. ``str(limit)`` says them in words.

    Attributes
    ----------
    least, most
        The smallest and the largest value.
    multiple
        Every value is a multiple of it.
    """

    least: int
    most: int
    multiple: int = 1

    def __str__(self) -> str:
        if self.least == self.most:
            return f"{self.least:,} only"
        kind = "a whole number" if self.multiple == 1 else f"a multiple of {self.multiple:,}"
        return f"{kind} from {self.least:,} to {self.most:,}"

    def allows(self, value: Any) -> Any:
        """Tell whether a number is allowed; of an array, each of its numbers."""
        return (self.least <= value) & (value <= self.most) & (value % self.multiple == 0)


@dataclass(frozen=True)
class Interval:
    """The numbers that are allowed, fractions too: above `least`, and at most `most`."""

    least: float
    most: int
    multiple: None = None

    def __str__(self) -> str:
        least = f"{self.least:,f}".rstrip("0").rstrip(".")
        return f"a number above {least}, at most {self.most:,}"

    def allows(self, value: Any) -> Any:
        """Tell whether a number is allowed; of an array, each of its numbers."""
        return (self.least < value) & (value <= self.most)


def within(limit: Limit) -> AfterValidator:
    """Return a validator for a field of numbers that are within a limit."""

    def check(value: int) -> int:
        if not limit.allows(value):
            raise ContradictionError("", repr_short(value), str(limit))
        return value

    return AfterValidator(check)


RATE: Final = Interval(1e-6, 10**9)
"""Rates, clocks, times and sizes of hardware, in their units.

No real value is near either end. Quotients and products of a few values stay far from overflow.
"""

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Text = Annotated[str, Field(min_length=1, max_length=2000)]
Positive = Annotated[float, Field(gt=RATE.least, le=RATE.most)]
Share = Annotated[float, Field(gt=RATE.least, le=1)]
PositiveInt = Annotated[int, Field(ge=1, le=10**9)]
Count = Annotated[int, Field(ge=0, le=10**15)]
