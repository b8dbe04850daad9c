"""The command ``dsocr``."""

from mkdocs_dsocr.cli.main import main, run

__all__ = ["main", "run"]
