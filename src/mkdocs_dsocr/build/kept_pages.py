"""Pages of an earlier build, used where nothing differs that they depend on."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from mkdocs_dsocr.build.settings import Settings
from mkdocs_dsocr.build.shipped import has_gpu
from mkdocs_dsocr.build.workers import Pages
from mkdocs_dsocr.inputs.files import MAX_BYTES, stamps
from mkdocs_dsocr.io import Cache, read_regular, source_digest
from mkdocs_dsocr.models.door import GROUP
from mkdocs_dsocr.resources import PACKAGE, data_dir
from mkdocs_dsocr.site.pages import assets

DATA: Final = ("hardware", "models", "traces", "workloads")
"""Folders of the data that ship: pages compare every GPU."""
PACKAGES: Final = (
    *("jinja2", "markdown", "markupsafe", "mkdocs", "mkdocs-gen-files", "mkdocs-material"),
    *("mkdocs-autorefs", "mkdocstrings"),
    *("numpy", "properdocs", "pydantic", "pygments", "pymdown-extensions", "pyyaml", "ruamel.yaml"),
    *("torch", "torchinfo", "transformers"),
)
"""What takes part in making pages, where it is installed."""
FOLDER: Final = "pages"
"""The folder of the entries in the cache: they push no trace out."""
MOST: Final = 8
"""Entries that stay: each has 10 MB, or 30 for several workloads."""


def key_of(settings: Settings, style: str, converter: str | None) -> str | None:
    """Return what the pages of a site depend on, as text.

    Parameters
    ----------
    settings, style
        What is analysed, and how pages are linked.
    converter
        What makes HTML of Markdown, in words; None where that is not known. Pages for other
        workloads and GPUs depend on it.

    Returns
    -------
    None where pages are made anew in every build: with ``trace: verify``, with code of a checkpoint
    or of models by other authors, and where a GPU may be traced on.

    Raises
    ------
    InputError
        If an id is not known.
    """
    is_traced_anew = settings.trace == "verify" or settings.device == "cuda" or has_gpu()
    is_one = len(settings.workloads) == len(settings.hardware) == 1
    own = all(p.value.startswith("mkdocs_dsocr.") for p in metadata.entry_points(group=GROUP))
    if is_traced_anew or settings.trust_remote_code or not own:
        return None
    if not is_one and converter is None:
        return None
    folders = (PACKAGE, *(data_dir() / name for name in DATA))
    code = (p for folder in folders for p in sorted(folder.rglob("*")) if _is_source(p))
    parts = {
        "settings": settings.to_json(),
        "style": style,
        "converter": None if is_one else converter,
        "code": source_digest(code),
        "inputs": list(_inputs(settings)),
        "packages": {name: _version(name) for name in PACKAGES},
        "python": sys.version,
        "date": os.environ.get("SOURCE_DATE_EPOCH"),
    }
    return json.dumps(["pages", parts], sort_keys=True)


def load(cache: Cache, key: str) -> Pages | None:
    """Return the pages that were kept under a key, None where there are none."""
    found = _store(cache).load(key, _checked)
    if found is None:
        return None
    own = {f"assets/{name}": data for name, data in assets().items()}
    return Pages(found.pages, {**found.others, **own}, found.nav, [])


def save(cache: Cache, key: str, made: Pages, files: Mapping[str, Path]) -> None:
    """Keep pages under a key, and files by path. The package's own assets are not kept."""
    others = {n: d.decode() for n, d in made.others.items() if not n.startswith("assets/")}
    others |= {name: path.read_text(encoding="utf-8") for name, path in files.items()}
    _store(cache).save(key, {"pages": made.pages, "others": others, "nav": made.nav})


def save_if_current(cache: Cache, key: str, made: Pages, files: Mapping[str, Path]) -> None:
    """Keep pages as :func:`save` does, unless an input was edited while they were made."""
    parts = json.loads(key)[1]
    inputs = _inputs(Settings.from_json(parts["settings"]))
    if [list(stated) for stated in inputs] == parts["inputs"]:
        save(cache, key, made, files)


def _store(cache: Cache) -> Cache:
    return Cache(cache.folder / FOLDER, MOST)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _is_source(path: Path) -> bool:
    return path.is_file() and path.suffix != ".pyc"


def _inputs(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield each input file with a digest; large ones with what their folder says of them."""
    for path, changed, size in stamps(settings.files()):
        content = f"{changed}, {size}"
        if 0 <= size <= MAX_BYTES:
            with suppress(OSError):  # whoever reads the file says what is wrong with it
                content = hashlib.sha256(read_regular(Path(path), MAX_BYTES)).hexdigest()
        yield path, content


def _checked(content: Any) -> Pages:
    """Return what was kept as it is used.

    Raises
    ------
    ValueError
        If it has another shape.
    """
    pages, others, nav = content["pages"], content["others"], content["nav"]
    texts = [*pages.values(), *others.values()]
    if not pages or not isinstance(nav, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError("no pages")
    return Pages(pages, {name: text.encode() for name, text in others.items()}, nav, [])
