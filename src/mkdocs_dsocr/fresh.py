"""The pages, made by a process of its own: for code that changed after it was imported.

python -m mkdocs_dsocr.fresh < settings.json > pages.json
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mkdocs_dsocr import outputs, pipeline
from mkdocs_dsocr.cache import default_cache
from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.site.pages import nav
from mkdocs_dsocr.static import static_analysis


@dataclass(frozen=True)
class Pages:
    """What a site is made of.

    Attributes
    ----------
    pages, others
        Markdown, and the content of other files, by path.
    nav
        Navigation entries.
    failures
        Where formulas, trace and checkpoint disagree.
    """

    pages: dict[str, str]
    others: dict[str, bytes]
    nav: list[Any]
    failures: list[str]


def pages_of(
    settings: pipeline.Settings, style: str, *, uses_cache: bool, log: Callable[[str], None]
) -> Pages:
    """Return the pages as the code on disk makes them.

    Raises
    ------
    InputError
        If an input is bad, or the code does not run.
    """
    text = json.dumps({"settings": settings.to_json(), "style": style, "cache": uses_cache})
    command = [sys.executable, "-m", "mkdocs_dsocr.fresh"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it ended without a word"]
        found = "\n".join(lines[-3:]) if done.returncode != 2 else lines[-1]
        raise InputError(Path(__file__).parent, "", found, "code and inputs that run")
    for line in done.stderr.splitlines():
        log(line)
    content = json.loads(done.stdout)
    others = {name: base64.b64decode(data) for name, data in content["others"].items()}
    return Pages(content["pages"], others, content["nav"], content["failures"])


def main() -> None:
    """Answer a request on standard input."""
    request = json.load(sys.stdin)
    settings = pipeline.Settings.from_json(request["settings"])
    cache = default_cache() if request["cache"] else None
    try:
        analyses = pipeline.analyse(settings)
        trust = settings.trust_remote_code
        static = static_analysis(analyses, settings.device, _say, cache, trust=trust)
        result = pipeline.with_company(pipeline.complete(analyses, static), settings)
    except InputError as error:
        _say(str(error))
        sys.exit(2)
    more = outputs.other_reports(result.analyses)
    site, pages, others = outputs.site_files(result, request["style"], tuple(more), cache)
    others |= {f"artifacts/{path}": text.encode() for path, text in more.items()}
    encoded = {name: base64.b64encode(data).decode() for name, data in others.items()}
    answer = {"pages": pages, "others": encoded, "nav": nav(site), "failures": result.failures}
    json.dump(answer, sys.stdout)


def _say(message: str) -> None:
    print(message, file=sys.stderr)


if __name__ == "__main__":
    main()
