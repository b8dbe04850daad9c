"""The options in ``mkdocs.yml``, and where in the site they put the pages."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Final

from mkdocs.config import base
from mkdocs.config import config_options as c
from mkdocs.config.defaults import MkDocsConfig

from mkdocs_dsocr.build.settings import TRACES, Settings
from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.inputs.errors import repr_short
from mkdocs_dsocr.resources import DEFAULT_HARDWARE, DEFAULT_MODEL, DEFAULT_WORKLOAD, DEVICES
from mkdocs_dsocr.site.links import LinkStyle

PATH: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(/[A-Za-z0-9][A-Za-z0-9_-]*)*")
LONGEST_PATH: Final = 100
RESERVED: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])", re.IGNORECASE)
"""Names that no folder has on Windows."""


class DsocrConfig(base.Config):  # type: ignore[no-untyped-call]
    """Options in ``mkdocs.yml``."""

    enabled = c.Type(bool, default=True)
    path = c.Type(str, default="dsocr")
    model = c.Type(str, default=DEFAULT_MODEL)
    workloads = c.ListOfItems(c.Type(str), default=[DEFAULT_WORKLOAD])
    hardware = c.ListOfItems(c.Type(str), default=[DEFAULT_HARDWARE])
    device = c.Choice(DEVICES, default=DEVICES[0])
    trace = c.Choice(TRACES, default=TRACES[0])
    measurements = c.ListOfItems(c.Type(str), default=[])
    cache = c.Type(bool, default=True)
    trust_remote_code = c.Type(bool, default=False)
    reviews = c.Type(str, default="")
    require_review = c.Type(bool, default=False)
    baseline = c.Type(str, default="")
    compared_models = c.ListOfItems(c.Type(str), default=[])
    markdown_twins = c.Type(bool, default=True)


def check_path(path: str, others: Iterable[str]) -> None:
    """Check the folder of an instance of the plugin, and that no other one shares it.

    Raises
    ------
    InputError
        If it is no plain path within the site, or is, holds or lies in a folder of `others`. Case
        makes no difference: it does not on every file system.
    """
    parts = path.split("/")
    if not PATH.fullmatch(path) or len(path) > LONGEST_PATH or any(map(RESERVED.fullmatch, parts)):
        allowed = (
            "a folder within the site, such as 'dsocr': letters, digits, - and _, with / between "
            f"folders, at most {LONGEST_PATH} characters, and no name that Windows reserves"
        )
        raise InputError("mkdocs.yml", "path", repr_short(path), allowed)
    for other in others:
        if other == path:
            raise InputError("mkdocs.yml", "path", f"{path!r} twice", "a folder for each instance")
        pairs = zip(path.casefold().split("/"), other.casefold().split("/"), strict=False)
        if all(one == two for one, two in pairs):
            found = f"{path!r} and {other!r}, which share a folder"
            raise InputError("mkdocs.yml", "path", found, "a folder for each instance")


def check_plugins(names: Container[str]) -> None:
    """Check that no plugin of the site drops the pages that others make.

    Raises
    ------
    InputError
        If one does.
    """
    if "i18n" in names:
        found = "i18n, which drops the pages that other plugins make"
        allowed = (
            "either of the two (pages that `dsocr export` writes can be translated as your own)"
        )
        raise InputError("mkdocs.yml", "plugins", found, allowed)


def is_excluded(config: MkDocsConfig, uri: str) -> bool:
    """Tell whether ``exclude_docs`` keeps a file out of the site."""
    return config.exclude_docs is not None and config.exclude_docs.match_file(uri)


def is_not_in_nav(config: MkDocsConfig, uri: str) -> bool:
    """Tell whether ``not_in_nav`` says that a page is in no navigation on purpose."""
    return config.not_in_nav is not None and config.not_in_nav.match_file(uri)


def style_of(config: MkDocsConfig) -> LinkStyle:
    """Return how MkDocs serves pages."""
    return "directory" if config.use_directory_urls else "html"


def settings_of(own: DsocrConfig, config: MkDocsConfig) -> Settings:
    """Return the settings of a build."""
    return Settings(
        model=own.model,
        workloads=tuple(own.workloads),
        hardware=tuple(own.hardware),
        device=own.device,
        cache=own.cache,
        trace=own.trace,
        measurements=tuple(own.measurements),
        trust_remote_code=own.trust_remote_code,
        reviews=own.reviews,
        require_review=own.require_review,
        baseline=own.baseline,
        compared_models=tuple(own.compared_models),
        base=Path(config.config_file_path or ".").parent,
    )
