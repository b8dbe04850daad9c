"""The subprocess that answers one request: a trace, reports, or pages.

python -m mkdocs_dsocr.build.worker < request.json; it answers one JSON object per line.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mkdocs_dsocr.build import artifacts, pipeline, prepared, sites
from mkdocs_dsocr.build.shipped import shipped
from mkdocs_dsocr.build.static import TORCHINFO, from_artifacts, named
from mkdocs_dsocr.build.switching import pages_of_pair
from mkdocs_dsocr.build.trace_store import static_analysis
from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.inputs.errors import room_to_write
from mkdocs_dsocr.io import Cache, without_collections
from mkdocs_dsocr.signals import unwind_on_signals
from mkdocs_dsocr.site.pages import nav

Say = Callable[..., None]


def _trace(settings: pipeline.Settings, request: dict[str, Any], say: Say) -> None:
    """Trace, and write torchinfo's files to the folder of the request."""
    with without_collections():
        analyses = pipeline.analyse(settings)
        static = static_analysis(
            analyses,
            settings.device,
            lambda message: say(log=message),
            settings.traces,
            trust=settings.trust_remote_code,
            built=lambda classes: say(classes=sorted(classes)),
            early=lambda s: say(artifacts=s.artifacts, reason=s.device_reason),
        )
    files = named(static.artifacts, analyses)
    _write(request, {f"static/{name}": files[name] for name in TORCHINFO})
    say(done=True)


def _reports(settings: pipeline.Settings, request: dict[str, Any], say: Say) -> None:
    """Prepare what pages wait for, then write the reports of other workloads and GPUs."""
    cache = settings.store
    with without_collections():
        analyses = pipeline.analyse(settings)
        if request["prepares"]:
            say(tables=prepared.table_lists(analyses, cache))
            say(formulas=prepared.formulas(analyses, cache))
        if hasattr(os, "nice"):
            os.nice(10)  # nobody waits for reports before the pages are made
        classes = frozenset(request["classes"])
        _write(request, artifacts.other_reports(pipeline.with_classes(analyses, classes)))
    say(done=True)


def _write(request: dict[str, Any], files: Mapping[str, str]) -> None:
    with room_to_write(request["folder"]):
        for path, text in files.items():
            target = Path(request["folder"]) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")


def _pages(settings: pipeline.Settings, request: dict[str, Any], say: Say) -> None:
    """Answer with all pages and files of a site."""
    cache = settings.store
    analyses = pipeline.analyse(settings)
    static = shipped(analyses, settings) or static_analysis(
        analyses,
        settings.device,
        lambda message: say(log=message),
        settings.traces,
        trust=settings.trust_remote_code,
    )
    with without_collections():
        say(**_made(pipeline.complete(analyses, static), settings, request, cache))


def _pairs(settings: pipeline.Settings, request: dict[str, Any], say: Say) -> None:
    """Answer with the pages of each pair that the request names."""
    cache = settings.store
    static = dataclasses.replace(
        from_artifacts(request["traces"], request["reason"]), is_shipped=request["is_shipped"]
    )
    with without_collections():
        result = pipeline.complete(pipeline.analyse(settings), static)
        result = pipeline.attach_comparisons(result, settings)
        site = sites.site_of(result, None, request["files"], has_switch=True)
        for workload, gpu in request["pairs"]:
            say(pages=pages_of_pair(site, (workload, gpu), request["style"], cache))


def _made(
    result: pipeline.Result,
    settings: pipeline.Settings,
    request: dict[str, Any],
    cache: Cache | None,
) -> dict[str, Any]:
    """Return the answer that has the pages of a result."""
    result = pipeline.attach_comparisons(result, settings)
    if request["only"] is not None:
        only, files = request["only"], request["files"]
        shown = sites.some_pages(result, request["style"], only, files)
        return {"pages": shown or {}, "others": {}, "nav": [], "failures": result.failures}
    more = artifacts.other_reports(result.analyses)
    site, pages, others = sites.site_files(result, request["style"], tuple(more), cache)
    others |= {f"artifacts/{path}": text.encode() for path, text in more.items()}
    encoded = {name: base64.b64encode(data).decode() for name, data in others.items()}
    return {"pages": pages, "others": encoded, "nav": nav(site), "failures": result.failures}


REQUESTS = {"trace": _trace, "reports": _reports, "pages": _pages, "pairs": _pairs}
"""What a worker does, by the name of the request."""


def _end_with_the_build(request: dict[str, Any]) -> None:
    """End as soon as the build that asked has ended, whatever ended it, and leave nothing of it."""
    while os.read(0, 1):
        pass
    if "folder" in request:
        shutil.rmtree(request["folder"], ignore_errors=True)
    os._exit(1)


def main() -> None:
    """Answer a request on standard input."""
    unwind_on_signals()
    logging.getLogger("mkdocs_dsocr").setLevel(logging.ERROR)  # the build that asked has said it
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_build, args=[request], daemon=True).start()
    # What other code prints goes to standard error, so that it is not taken for an answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(**answer: Any) -> None:
        answers.write(json.dumps(answer) + "\n")  # at once: another thread may say something too
        answers.flush()

    try:
        settings = pipeline.Settings.from_json(request["settings"])
        REQUESTS[request["request"]](settings, request, say)
    except InputError as error:
        say(error=[str(error.source), error.key, error.found, error.allowed])
    except BrokenPipeError:
        os._exit(1)  # the build that asked has ended: nobody reads a traceback


if __name__ == "__main__":
    main()
