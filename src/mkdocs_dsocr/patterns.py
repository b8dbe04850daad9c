"""Path patterns such as ``model.layers.[1-11].mlp``: many module paths in one line."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

_GROUP = re.compile(r"\[([0-9,-]+)\]")


def indices(numbers: Iterable[int]) -> str:
    """Write module indices as one path segment.

    >>> indices([1, 2, 3, 7])
    '[1-3,7]'
    >>> indices([4])
    '4'
    """
    numbers = sorted(numbers)
    if len(numbers) == 1:
        return str(numbers[0])
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    spans = (f"{r[0]}-{r[-1]}" if len(r) > 2 else ",".join(map(str, r)) for r in runs)
    return f"[{','.join(spans)}]"


@lru_cache(maxsize=1024)
def expand(pattern: str) -> tuple[str, ...]:
    """Return every path that `pattern` stands for, in order.

    >>> expand("layers.[0,2-3].mlp")
    ('layers.0.mlp', 'layers.2.mlp', 'layers.3.mlp')
    """
    pieces = _GROUP.split(pattern)
    choices = [[p] if i % 2 == 0 else list(_numbers(p)) for i, p in enumerate(pieces)]
    return tuple("".join(combination) for combination in itertools.product(*choices))


def _numbers(group: str) -> Iterator[str]:
    for span in group.split(","):
        first, _, last = span.partition("-")
        yield from map(str, range(int(first), int(last or first) + 1))
