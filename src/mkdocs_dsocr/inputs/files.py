"""Read input files: YAML and JSON mappings, with errors that name file and key."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from mkdocs_dsocr.inputs.errors import ContradictionError, InputError, repr_short, suggestion
from mkdocs_dsocr.inputs.yaml12 import MAX_DEPTH, YamlError, load_yaml
from mkdocs_dsocr.io import read_regular

MAX_BYTES: Final = 1_000_000

Model = TypeVar("Model", bound=BaseModel)


def stamps(paths: Iterable[Path]) -> tuple[tuple[str, int, int], ...]:
    """Return path, modification time and size of each file, also of those in folders."""
    found = []
    for path in paths:
        inside = (f for f in path.rglob("*") if f.is_file() and f.suffix != ".pyc")
        for file in sorted(inside) if os.path.isdir(path) else [path]:
            try:
                status = file.stat()
                changed = (status.st_mtime_ns, status.st_size)
            except (OSError, ValueError):
                changed = (0, -1)
            found.append((str(file), *changed))
    return tuple(found)


def read_text(path: Path, limit: int = MAX_BYTES) -> str:
    """Read a regular file of at most `limit` bytes of UTF-8.

    Raises
    ------
    InputError
        If it is missing, unreadable, not regular, too large or not UTF-8.
    """
    try:
        return read_regular(path, limit).decode("utf-8")
    except OSError as error:
        allowed = f"at most {limit:,}" if error.errno == errno.EFBIG else "a readable file"
        raise InputError(path, "", error.strerror or "unreadable", allowed) from error
    except UnicodeDecodeError as error:
        found = f"a byte that is not UTF-8 at {error.start}"
        raise InputError(path, "", found, "UTF-8 text") from error


def check_regular(path: Path) -> None:
    """Refuse what another library would open: a pipe would make it wait.

    Raises
    ------
    InputError
        If there is a file of this name that is not regular.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise InputError(path, "", "no regular file", "a readable file")


def read_mapping(
    path: Path, limit: int = MAX_BYTES, *, may_be_empty: bool = False
) -> dict[str, Any]:
    """Read a YAML or JSON file of at most `limit` bytes that holds one mapping.

    With `may_be_empty`, a file without content is an empty mapping.

    Raises
    ------
    InputError
        If the file is missing, unreadable, too large, not UTF-8, malformed,
        empty, no mapping, or has duplicate keys or nodes that contain themselves.
    """
    text = read_text(path, limit)
    content = _json(path, text) if path.suffix == ".json" else parse_yaml(text, path)
    if may_be_empty and (content is None or content == {}):
        return {}
    if not isinstance(content, dict) or not content:
        found = "nothing" if content is None else repr_short(content)
        found = "an empty mapping" if content == {} else found
        raise InputError(path, "", found, "a mapping of keys to values")
    _check_depth(path, content)
    return content


def parse_yaml(text: str, source: str | Path, key: str = "") -> Any:
    """Return the content of a YAML 1.2 text.

    Raises
    ------
    InputError
        If it is malformed, names `source`, and `key` or the line.
    """
    try:
        return load_yaml(text)
    except YamlError as error:
        allowed = "YAML 1.2 without duplicate keys and tags"
        raise InputError(source, key or error.where, str(error), allowed) from error


def _json(path: Path, text: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                raise InputError(path, key, "the key twice", "each key once")
            result[key] = value
        return result

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise InputError(path, f"line {error.lineno}", error.msg, "JSON") from error
    except (RecursionError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(path, "", "a value that is too deep or too long", "JSON") from error


def _check_depth(path: Path, node: Any, depth: int = 0, key: str = "") -> None:
    if depth > MAX_DEPTH:
        raise InputError(path, key, "deeper nesting", f"at most {MAX_DEPTH} levels")
    if isinstance(node, dict):
        for name, value in node.items():
            if not isinstance(name, str):
                raise InputError(path, key, f"the key {repr_short(name)}", "keys that are text")
            _check_depth(path, value, depth + 1, f"{key}.{name}" if key else name)
    elif isinstance(node, list):
        for value in node:
            _check_depth(path, value, depth + 1, key)


def validate(model: type[Model], content: dict[str, Any], path: str | Path) -> Model:
    """Return `content` as `model`.

    Raises
    ------
    InputError
        For the first key that is missing, unknown or not allowed.
    """
    try:
        return model.model_validate_json(json.dumps(content))
    except ValidationError as error:
        errors: list[Any] = list(error.errors(include_url=False))
    except (TypeError, ValueError) as error:
        raise InputError(path, "", "a value that JSON cannot hold", "plain values") from error
    first, *others = errors
    keys, branch, value = _place(first, content)
    if branch and isinstance(value, dict):
        # Of the types that a mapping may be, the one that is a mapping says what is wrong.
        first = next((e for e in errors if not _place(e, content)[1].startswith("list")), first)
        keys, branch, value = _place(first, content)
    found, allowed = repr_short(first["input"]), _allowed(first)
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, ContradictionError):
        keys, found, allowed = [*keys, cause.key], cause.found, cause.allowed
    elif first["type"] == "missing":
        found, allowed = "nothing", "a value: the key is required"
        missing = [".".join(map(str, e["loc"])) for e in others if e["type"] == "missing"]
        more = [f"{len(missing) - MOST_NAMED:,} more"] if len(missing) > MOST_NAMED else []
        allowed += f", and so are {', '.join(missing[:MOST_NAMED] + more)}" if missing else ""
    elif first["type"] == "extra_forbidden":
        found, allowed = "an unknown key", "no such key"
        if len(keys) == 1:
            found += suggestion(keys[0], model.model_fields)
            allowed = f"one of {', '.join(sorted(model.model_fields))}"
    elif branch and not isinstance(value, dict):
        branches = dict.fromkeys(_place(e, content)[1] for e in errors)
        found, allowed = (
            repr_short(value),
            " or ".join(_TYPES.get(b, "a mapping") for b in branches),
        )
    raise InputError(path, ".".join(filter(None, keys)), found, allowed)


MOST_NAMED: Final = 6
"""Missing keys that a message names beside the first."""
_TYPES: Final = {
    "list[str]": "a list of text",
    "list[bool]": "a list of true and false",
    "list[int]": "a list of whole numbers",
    "list[float]": "a list of numbers",
}
"""The branches of a union, in words."""
_ALLOWED: Final = {
    "bool_type": "true or false",
    "dict_type": "a mapping of keys to values",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "a mapping of keys to values",
    "string_type": "text",
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "text of the pattern {pattern}",
    "too_long": "at most {max_length} values",
    "too_short": "at least {min_length} values",
    "tuple_type": "a list",
}
"""What is allowed, in words, by the type of error."""


def _allowed(error: Any) -> str:
    """Return what is allowed where an error is."""
    if error["type"] in _ALLOWED:
        return _ALLOWED[error["type"]].format_map(error.get("ctx", {}))
    allowed = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return re.sub(r"(?<![.\d])\d{5,}", lambda number: f"{int(number[0]):,}", allowed)


def _place(error: Any, content: Any) -> tuple[list[str], str, Any]:
    """Return the keys that lead to an error, and the branch of a union with the value before it."""
    keys: list[str] = []
    branch, value, node = "", None, content
    for index, key in enumerate(error["loc"]):
        known = range(len(node)) if isinstance(node, list) else node
        if isinstance(known, range | dict) and key in known:
            node = node[key]
        elif not (error["type"] == "missing" and index == len(error["loc"]) - 1):
            branch, value = str(key), node
            continue
        if not branch or isinstance(value, dict):
            keys.append(str(key))
    return keys, branch, value
