"""Damage: what a fuzzer makes of valid files, as bytes and as values."""

from __future__ import annotations

import copy
import json
import math
import random
from typing import Any, Final

import yaml
from hypothesis import strategies as st

HOSTILE: Final[tuple[Any, ...]] = (
    None,
    True,
    -1,
    0,
    1.5,
    2**63,
    10**400,
    math.nan,
    math.inf,
    1e308,
    "",
    "x" * 10_000,
    "../../etc/passwd",
    "/etc/passwd",
    "C:\\x",
    "<script>alert(1)</script>",
    "{{ 7 * 7 }}",
    "\u202e\x00\x1b[31m",
    "2026-13-45",
    [],
    {},
    [[[[]]]],
    {"": {"": {}}},
    json.loads("[" * 60 + "]" * 60),
)
"""Values that nobody thought of."""
TOKENS: Final = (
    b"\x00",
    b"\xff",
    b": ",
    b"- ",
    b"&a *a",
    b"<<: *a",
    b"!!python/object",
    b"{",
    b"]",
)


def _places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value within a structure."""
    items: Any = ()
    if isinstance(node, dict):
        items = node.items()
    elif isinstance(node, list):
        items = enumerate(node)
    return [path, *(p for k, v in items for p in _places(v, (*path, k)))]


def _edited(content: Any, chance: random.Random) -> Any:
    """Return a structure with one value replaced, removed, doubled, renamed or nested."""
    places = _places(content)[1:]
    if not places:
        return chance.choice(HOSTILE)
    *way, last = chance.choice(places)
    parent = content
    for key in way:
        parent = parent[key]
    action = chance.randrange(5)
    if action == 0:
        del parent[last]
    elif action == 1:
        parent[last] = [parent[last], parent[last]]
    elif action == 2 and isinstance(parent, dict):
        parent[chance.choice(("", "x" * 999, "..", "\u202e", "__proto__"))] = parent.pop(last)
    else:
        parent[last] = copy.deepcopy(chance.choice(HOSTILE))
    return content


def _damaged(data: bytes, chance: random.Random) -> bytes:
    """Return bytes with a piece cut, doubled, flipped or put in."""
    start = chance.randrange(len(data) + 1)
    stop = min(len(data), start + chance.randrange(40))
    piece = chance.choice(
        (b"", data[start:stop] * 2, bytes(b ^ 0x20 for b in data[start:stop]), *TOKENS)
    )
    return data[:start] + piece + (b"" if chance.randrange(20) == 0 else data[stop:])


@st.composite
def damaged_files(draw: st.DrawFn, valid: Any, suffix: str) -> bytes:
    """Draw a file: `valid` with damage of either kind, or bytes that never were one."""
    chance = draw(st.randoms(use_true_random=False))
    if chance.randrange(10) == 0:
        return draw(st.binary(max_size=200))
    content = copy.deepcopy(valid)
    for _ in range(chance.randrange(4)):
        content = _edited(content, chance)
    data = written(content, suffix)
    for _ in range(chance.randrange(3)):
        data = _damaged(data, chance)
    return data


def written(content: Any, suffix: str) -> bytes:
    """Return a structure as a file."""
    if suffix == ".json":
        return json.dumps(content).encode()
    if suffix == ".jsonl":
        lines = content if isinstance(content, list) else [content]
        return b"\n".join(json.dumps(line).encode() for line in lines)
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return bytes(yaml.dump(content, Dumper=dumper, encoding="utf-8", allow_unicode=True))
