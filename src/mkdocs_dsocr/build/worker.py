"""One subprocess for two requests: files that no page waits for, and pages of edited code.

python -m mkdocs_dsocr.build.worker < request.json; it answers one JSON object per line.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

from mkdocs_dsocr.build import artifacts, pipeline
from mkdocs_dsocr.build.shipped import shipped
from mkdocs_dsocr.build.trace_store import (
    TORCHINFO,
    Log,
    StaticAnalysis,
    from_artifacts,
    static_analysis,
)
from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.inputs.errors import room_to_write
from mkdocs_dsocr.io import Cache, default_cache, without_collections
from mkdocs_dsocr.resources import PACKAGE
from mkdocs_dsocr.signals import unwind_on_signals
from mkdocs_dsocr.site.pages import nav

Say = Callable[..., None]


class Worker:
    """A subprocess that answers a request.

    Parameters
    ----------
    request
        The name of a function in :data:`REQUESTS`, and its parameters.
    settings
        What is analysed.
    uses_cache
        Whether traces are kept.
    log
        Told what is done.
    """

    def __init__(
        self, request: dict[str, Any], settings: pipeline.Settings, *, uses_cache: bool, log: Log
    ) -> None:
        self._log, self._passes_on = log, request["request"] == "files"
        command, pipe = [sys.executable, "-m", "mkdocs_dsocr.build.worker"], subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8"
        )
        weakref.finalize(self, _end, self._process)  # however this process ends
        content = request | {"settings": settings.to_json(), "cache": uses_cache}
        assert self._process.stdin
        # The pipe stays open: the worker ends when this process does.
        self._process.stdin.write(f"{json.dumps(content)}\n")
        self._process.stdin.flush()
        self._answers: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._words: list[str] = []
        self._readers = [
            threading.Thread(target=f, daemon=True) for f in (self._listen, self._read)
        ]
        for reader in self._readers:
            reader.start()

    @property
    def is_running(self) -> bool:
        """Whether answers may still come."""
        return self._readers[1].is_alive()

    def answer(self, key: str) -> dict[str, Any]:
        """Wait for the answer that has this key.

        Raises
        ------
        InputError
            If the worker found a bad input, or its code did not run.
        """
        while (answer := self._answers.get()) is not None:
            if "error" in answer:
                raise InputError(*answer["error"])
            if "log" in answer:
                self._log(answer["log"])
            if key in answer:
                return answer
        words = "\n".join(self._words[-3:]) or f"status {self._process.returncode}, and no message"
        raise InputError(PACKAGE, "", words, "code and inputs that run")

    def stop(self) -> None:
        """End it, whatever it does."""
        _end(self._process)
        for reader in self._readers:
            reader.join()

    def _read(self) -> None:
        assert self._process.stdout
        with self._process.stdout as stdout:
            for line in stdout:
                if line.endswith("\n"):  # else it was killed while it wrote
                    self._answers.put(json.loads(line))
        self._process.wait()
        assert self._process.stdin
        with suppress(OSError):
            self._process.stdin.close()
        self._readers[0].join()
        self._answers.put(None)

    def _listen(self) -> None:
        """Keep what other code prints, and pass it on unless its error is shown on the pages."""
        assert self._process.stderr
        with self._process.stderr as stderr:
            for line in stderr:
                self._words.append(line.rstrip("\n"))
                if self._passes_on:
                    sys.stderr.write(line)


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


class FileWorker(Worker):
    """A worker that traces, where that is asked for, and writes files.

    Parameters
    ----------
    settings, uses_cache, log
        As for :class:`Worker`.
    classes
        Module classes of the trace; None where there is no trace yet: then it is made, too.

    Attributes
    ----------
    folder
        Where the files go, by their paths under ``artifacts/``, until :meth:`stop`.
    """

    def __init__(
        self,
        settings: pipeline.Settings,
        classes: frozenset[str] | None,
        *,
        uses_cache: bool,
        log: Log,
    ) -> None:
        self._temporary = TemporaryDirectory(prefix="dsocr_worker_", ignore_cleanup_errors=True)
        self.folder = Path(self._temporary.name)
        known = sorted(classes) if classes is not None else None
        request = {"request": "files", "folder": str(self.folder), "classes": known}
        super().__init__(request, settings, uses_cache=uses_cache, log=log)

    def static(self) -> StaticAnalysis:
        """Wait for the trace and return it without torchinfo's files."""
        found = self.answer("artifacts")
        return from_artifacts(found["artifacts"], found["reason"])

    def wait(self) -> None:
        """Wait for the files."""
        self.answer("done")

    def stop(self) -> None:
        """End it and remove its files."""
        super().stop()
        self._temporary.cleanup()

    def with_files(self, static: StaticAnalysis) -> StaticAnalysis:
        """Return a trace with torchinfo's files, which :meth:`wait` waited for."""
        files = {n: (self.folder / "static" / n).read_text(encoding="utf-8") for n in TORCHINFO}
        return dataclasses.replace(static, artifacts=files | static.artifacts)


@dataclasses.dataclass(frozen=True)
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
    settings: pipeline.Settings,
    style: str,
    *,
    uses_cache: bool,
    log: Log,
    only: Sequence[str] | None = None,
    files: Sequence[str] = (),
) -> Pages:
    """Return the pages as the code on disk makes them: it changed after it was imported.

    Parameters
    ----------
    settings, uses_cache, log
        As for :class:`Worker`.
    style
        How pages are linked.
    only
        The paths of the pages that are wanted, without other files; all where not given.
    files
        Paths under ``artifacts/`` of the files that the site then has already.

    Raises
    ------
    InputError
        If an input is bad, or the code does not run.
    """
    request = {"request": "pages", "style": style, "only": only, "files": files}
    worker = Worker(request, settings, uses_cache=uses_cache, log=log)
    content = worker.answer("pages")
    others = {name: base64.b64decode(data) for name, data in content["others"].items()}
    return Pages(content["pages"], others, content["nav"], content["failures"])


def _files(settings: pipeline.Settings, request: dict[str, Any], say: Say) -> None:
    """Trace, where there is no trace yet, and write files to the folder of the request."""
    analyses = pipeline.analyse(settings)
    files: dict[str, str] = {}
    if request["classes"] is None:
        static = static_analysis(
            analyses,
            settings.device,
            lambda message: say(log=message),
            _traces(settings, request),
            trust=settings.trust_remote_code,
            early=lambda s: say(artifacts=s.artifacts, reason=s.device_reason),
        )
        files = {f"static/{name}": static.artifacts[name] for name in TORCHINFO}
        classes = static.classes
    else:
        classes = frozenset(request["classes"])
    with without_collections():
        files |= artifacts.other_reports(pipeline.with_classes(analyses, classes))
    with room_to_write(request["folder"]):
        for path, text in files.items():
            target = Path(request["folder"]) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    say(done=True)


def _traces(settings: pipeline.Settings, request: dict[str, Any]) -> Cache | None:
    """Return where traces are kept, None where they are not."""
    return default_cache() if request["cache"] and settings.trace != "verify" else None


def _pages(settings: pipeline.Settings, request: dict[str, Any], say: Say) -> None:
    """Answer with all pages and files of a site."""
    cache = default_cache() if request["cache"] else None
    analyses = pipeline.analyse(settings)
    static = shipped(analyses, settings) or static_analysis(
        analyses,
        settings.device,
        lambda message: say(log=message),
        _traces(settings, request),
        trust=settings.trust_remote_code,
    )
    with without_collections():
        say(**_made(pipeline.complete(analyses, static), settings, request, cache))


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
        shown = artifacts.some_pages(result, request["style"], only, files)
        return {"pages": shown or {}, "others": {}, "nav": [], "failures": result.failures}
    more = artifacts.other_reports(result.analyses)
    site, pages, others = artifacts.site_files(result, request["style"], tuple(more), cache)
    others |= {f"artifacts/{path}": text.encode() for path, text in more.items()}
    encoded = {name: base64.b64encode(data).decode() for name, data in others.items()}
    return {"pages": pages, "others": encoded, "nav": nav(site), "failures": result.failures}


REQUESTS = {"files": _files, "pages": _pages}
"""What a worker does, by the name of the request."""


def _end_with_the_build(request: dict[str, Any]) -> None:
    """Wait until the build that asked has ended, whatever ended it, and leave nothing of it."""
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
