"""Read input files: YAML and JSON mappings, with errors that name file and key."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable
from io import StringIO
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError

from mkdocs_dsocr.inputs.errors import ContradictionError, InputError, repr_short

MAX_BYTES: Final = 1_000_000
MAX_DEPTH: Final = 20

Model = TypeVar("Model", bound=BaseModel)


def stamps(paths: Iterable[Path]) -> tuple[tuple[str, int, int], ...]:
    """Return path, modification time and size of each file, also of those in folders."""
    found = []
    for path in paths:
        inside = (f for f in path.rglob("*") if f.is_file() and f.suffix != ".pyc")
        for file in sorted(inside) if path.is_dir() else [path]:
            status = file.stat() if file.exists() else None
            changed = (status.st_mtime_ns, status.st_size) if status else (0, -1)
            found.append((str(file), *changed))
    return tuple(found)


def read_mapping(path: Path, limit: int = MAX_BYTES) -> dict[str, Any]:
    """Read a YAML or JSON file of at most `limit` bytes that holds one mapping.

    Raises
    ------
    InputError
        If the file is missing, unreadable, too large, not UTF-8, malformed,
        empty, no mapping, or has duplicate keys or nodes that contain themselves.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(path, "", error.strerror or "unreadable", "a readable file") from error
    if len(data) > limit:
        raise InputError(path, "", f"{len(data):,} bytes", f"at most {limit:,}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            path, "", f"a byte that is not UTF-8 at {error.start}", "UTF-8 text"
        ) from error
    content = _json(path, text) if path.suffix == ".json" else _yaml(path, text)
    if not isinstance(content, dict) or not content:
        found = "nothing" if content is None or content == {} else repr_short(content)
        raise InputError(path, "", found, "a mapping of keys to values")
    _check_depth(path, content)
    return content


def _yaml(path: Path, text: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ReusedAnchorWarning)  # YAML allows it
            return YAML(typ="safe", pure=True).load(StringIO(text))
    except (YAMLError, ValueError, RecursionError, OverflowError) as error:
        where, problem = "", str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, MarkedYAMLError):
            problem = error.problem or problem
            if error.problem_mark is not None:
                where = f"line {error.problem_mark.line + 1}"
        raise InputError(path, where, problem, "YAML 1.2 without duplicate keys") from error


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
        first, *others = error.errors(include_url=False)
    except (TypeError, ValueError) as error:
        raise InputError(path, "", "a value that JSON cannot hold", "plain values") from error
    keys, found = [str(key) for key in first["loc"]], repr_short(first["input"])
    allowed = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    allowed = re.sub(r"\d{5,}", lambda number: f"{int(number[0]):,}", allowed)
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, ContradictionError):
        keys, found, allowed = [*keys, cause.key], cause.found, cause.allowed
    elif first["type"] == "missing":
        found, allowed = "nothing", "a value: the key is required"
        missing = [".".join(map(str, e["loc"])) for e in others if e["type"] == "missing"]
        allowed += f", and so are {', '.join(missing)}" if missing else ""
    elif first["type"] == "extra_forbidden":
        known = ", ".join(sorted(model.model_fields))
        found, allowed = "an unknown key", f"one of {known}" if len(keys) == 1 else "no such key"
    raise InputError(path, ".".join(filter(None, keys)), found, allowed)
