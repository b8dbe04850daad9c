"""The commands about what builds keep."""

from __future__ import annotations

import click


@click.group()
def cache() -> None:
    """Show or clear what builds keep, so that a second one imports no torch."""


@cache.command()
def info() -> None:
    """Say where the cache lies and how large it is."""
    from mkdocs_dsocr.io import default_cache

    kept = default_cache()
    entries = kept.every()
    size = sum(path.stat().st_size for path in entries)
    click.echo(f"{kept.folder}: {len(entries)} entries, {size / 1e6:.1f} MB")


@cache.command()
def clear() -> None:
    """Remove every entry."""
    from mkdocs_dsocr.io import default_cache

    click.echo(f"{default_cache().clear()} entries removed")
