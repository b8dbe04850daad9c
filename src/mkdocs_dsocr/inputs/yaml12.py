"""YAML 1.2 and merge keys (``<<``) as plain values, read through libyaml.

Values are built event by event, so no input is walked before it is counted: what aliases repeat
counts each time. Tags other than those of plain values and directives of other versions are
refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

MAX_DEPTH: Final = 20
"""Levels of nesting."""
MAX_NODES: Final = 200_000
"""Values and keys of a file; a value that an alias repeats counts each time, with all in it."""
MAX_CHARACTERS: Final = 20_000_000
"""Characters of all values and keys, counted in the same way."""
MERGE: Final = "<<"
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL: Final = {"", "~", "null", "Null", "NULL"}
_BOOL: Final = {t: t.lower() == "true" for t in ("true", "True", "TRUE", "false", "False", "FALSE")}
_INT: Final = re.compile(r"[-+]?(?:[0-9]+|0(?:b[01]+|o[0-7]+|x[0-9a-fA-F]+))")
_FLOAT: Final = re.compile(
    r"[-+]?(?:[0-9]+(?:\.[0-9]*(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)"
    r"|\.[0-9]+(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
)


class YamlError(ValueError):
    """Text that is not read; `where` is its line, or empty."""

    def __init__(self, problem: str, mark: Any = None) -> None:
        super().__init__(problem)
        self.where = f"line {mark.line + 1}" if mark is not None else ""


@dataclass
class _Node:
    """A value, and what it counts with all in it."""

    value: Any
    nodes: int = 1
    characters: int = 0


@dataclass
class _Open(_Node):
    """A list or mapping that has not ended.

    Attributes
    ----------
    anchor
        Its name for aliases.
    keys
        The keys of a mapping that were written; those of merged mappings are not among them.
    key
        The key whose value comes next, in a list of one; empty where a key comes next.
    """

    anchor: str | None = None
    keys: set[Any] = field(default_factory=set)
    key: list[Any] = field(default_factory=list)


def load_yaml(text: str) -> Any:
    """Return the value of the one document in `text`; None where there is none.

    Raises
    ------
    YamlError
        If it is malformed, too deep or too large, or has a duplicate key, a tag, an alias without
        an anchor, or a node that contains itself.
    """
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise YamlError("a lone surrogate, which is no character")
    anchors: dict[str, _Node] = {}
    stack: list[_Open] = [_Open([])]
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.CollectionStartEvent):
                _check_tag(event, {None, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})
                if len(stack) > MAX_DEPTH:
                    raise YamlError(f"over {MAX_DEPTH} levels of nesting", event.start_mark)
                is_mapping = isinstance(event, yaml.MappingStartEvent)
                stack.append(_Open({} if is_mapping else [], anchor=event.anchor))
                anchors.pop(
                    event.anchor or "", None
                )  # until it ends, an alias would contain itself
                continue
            if isinstance(event, yaml.AliasEvent):
                if event.anchor not in anchors:
                    problem = f"*{event.anchor}, which names nothing before it"
                    raise YamlError(problem, event.start_mark)
                node = anchors[event.anchor]
            elif isinstance(event, yaml.ScalarEvent):
                node = _Node(_scalar(event), 1, len(event.value))
            elif isinstance(event, yaml.CollectionEndEvent):
                node = stack.pop()
            else:
                _check_document(event, stack[0])
                continue
            if not isinstance(event, yaml.AliasEvent) and (anchor := _anchor(event, node)):
                anchors[anchor] = node
            _add(stack[-1], node, event.start_mark)
    except yaml.MarkedYAMLError as error:
        problem = error.problem or str(error).splitlines()[0]
        problem = problem.replace("did not find expected", "no").removeprefix("found ")
        raise YamlError(problem, error.problem_mark) from error
    except yaml.YAMLError as error:
        raise YamlError(str(error).splitlines()[0]) from error
    return stack[0].value[0] if stack[0].value else None


def _anchor(event: Any, node: _Node) -> str | None:
    anchor: str | None = node.anchor if isinstance(node, _Open) else event.anchor
    return anchor


def _check_document(event: Any, whole: _Open) -> None:
    if isinstance(event, yaml.DocumentStartEvent):
        if whole.value:
            raise YamlError("a second document", event.start_mark)
        if event.version not in (None, (1, 2)):
            raise YamlError(f"%YAML {event.version[0]}.{event.version[1]}", event.start_mark)


def _check_tag(event: Any, known: set[str | None]) -> None:
    if event.tag not in known:
        raise YamlError(f"the tag {event.tag}", event.start_mark)


def _scalar(event: Any) -> Any:
    """Return the value of a scalar: plain ones are what they look like, others are text."""
    _check_tag(event, {None, "!", "tag:yaml.org,2002:str"})
    text: str = event.value
    if event.tag is not None or not event.implicit[0]:
        return text
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    number = text.lower()
    try:
        if _INT.fullmatch(text):
            digits = number.lstrip("+-")
            base = {"0b": 2, "0o": 8, "0x": 16}.get(digits[:2], 10)
            return int(number, base)
        if _FLOAT.fullmatch(text):
            return float(number.replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError as error:
        raise YamlError("a number that is too long", event.start_mark) from error
    return text


def _add(parent: _Open, node: _Node, mark: Any) -> None:
    """Put a value that is complete into the list or mapping that it is in."""
    parent.nodes += node.nodes
    parent.characters += node.characters
    if parent.nodes > MAX_NODES:
        raise YamlError(f"over {MAX_NODES:,} values, with aliases repeated", mark)
    if parent.characters > MAX_CHARACTERS:
        raise YamlError(f"over {MAX_CHARACTERS:,} characters, with aliases repeated", mark)
    if isinstance(parent.value, list):
        parent.value.append(node.value)
    elif not parent.key:
        if isinstance(node.value, list | dict):
            raise YamlError("a key that is a list or a mapping", mark)
        if node.value in parent.keys:
            raise YamlError(f"the duplicate key {str(node.value)[:60]!r}", mark)
        parent.keys.add(node.value)
        parent.key.append(node.value)
    elif (key := parent.key.pop()) == MERGE:
        _merge(parent, node.value, mark)
    else:
        parent.value[key] = node.value


def _merge(parent: _Open, value: Any, mark: Any) -> None:
    """Add the keys of mappings that stand after ``<<``: an earlier one wins."""
    for mapping in value if isinstance(value, list) else [value]:
        if not isinstance(mapping, dict):
            raise YamlError(f"{MERGE} without a mapping", mark)
        for key, merged in mapping.items():
            if key not in parent.keys:
                parent.value.setdefault(key, merged)
