"""The commands about what builds keep."""

from __future__ import annotations

import click

from mkdocs_dsocr.cli.command import Group, show, show_json
from mkdocs_dsocr.cli.options import json_option


@click.group(cls=Group)
def cache() -> None:
    """Show or clear what builds keep, so that a second one imports no torch."""


@cache.command()
@json_option("the same")
def info(as_json: bool) -> None:
    """Print where the cache lies and how large it is."""
    from mkdocs_dsocr.io import default_cache

    kept = default_cache()
    entries = kept.every()
    size = sum(path.stat().st_size for path in entries)
    if as_json:
        show_json({"folder": str(kept.folder), "entries": len(entries), "bytes": size})
    else:
        show(f"{kept.folder}: {len(entries)} entries, {size / 1e6:.1f} MB")


@cache.command()
def clear() -> None:
    """Remove every entry."""
    from mkdocs_dsocr.io import default_cache

    show(f"{default_cache().clear()} entries removed")
