"""``python -m mkdocs_dsocr.cli``."""

from mkdocs_dsocr.cli import run

if __name__ == "__main__":
    run()
