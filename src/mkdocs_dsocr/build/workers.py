"""Subprocesses beside a build: traces, reports, what pages wait for, and pages themselves."""

from __future__ import annotations

import base64
import dataclasses
import json
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any, Final

from mkdocs_dsocr.build import pipeline
from mkdocs_dsocr.build.progress import Log
from mkdocs_dsocr.build.static import (
    TORCHINFO,
    TRACE,
    VENDOR,
    Shown,
    StaticAnalysis,
    from_artifacts,
)
from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.resources import PACKAGE

LAST_LINES: Final = 4
"""Lines of an error that are shown: of a syntax error these are file, code, place and message."""


class Worker:
    """A subprocess that answers a request.

    Parameters
    ----------
    request
        The name of a function in :data:`mkdocs_dsocr.build.worker.REQUESTS`, and its parameters.
    settings
        What is analysed.
    log
        Told what is done.
    """

    def __init__(self, request: dict[str, Any], settings: pipeline.Settings, log: Log) -> None:
        self._log, self._passes_on = log, request["request"] != "pages"
        command, pipe = [sys.executable, "-m", "mkdocs_dsocr.build.worker"], subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8", errors="replace"
        )
        weakref.finalize(self, _end, self._process)  # however this process ends
        content = request | {"settings": settings.to_json()}
        self._answers: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._words: list[str] = []
        self._failure: InputError | None = None
        self._readers = [
            threading.Thread(target=f, daemon=True) for f in (self._listen, self._read)
        ]
        # A large request takes until the worker has started.
        asking = threading.Thread(target=self._ask, args=[json.dumps(content)], daemon=True)
        for thread in (*self._readers, asking):
            thread.start()

    @property
    def is_running(self) -> bool:
        """Whether answers may still come."""
        return self._readers[1].is_alive()

    def answer(self, key: str) -> dict[str, Any]:
        """Wait for the answer that has this key.

        Raises
        ------
        InputError
            If the worker found a bad input, or its code did not run; the same each time.
        """
        while self._failure is None:
            answer = self._answers.get()
            if answer is None:
                self._failure = self._ended()
            elif "error" in answer:
                self._failure = InputError(*answer["error"])
            elif "log" in answer:
                self._log(answer["log"])
            elif key in answer:
                return answer
        raise self._failure

    def _ended(self) -> InputError:
        """Return why it ended without the answer."""
        status = self._process.returncode
        if status < 0:
            found = f"a process of this build that was killed by signal {-status}"
            return InputError("build", "", found, "enough memory for all processes of a build")
        words = "\n".join(self._words[-LAST_LINES:]) or f"status {status}, and no message"
        return InputError(PACKAGE, "", words, "code and inputs that run")

    def stop(self) -> None:
        """End it, whatever it does."""
        _end(self._process)
        for reader in self._readers:
            reader.join()

    def _ask(self, request: str) -> None:
        """Send the request. The pipe stays open: the worker ends when this process does."""
        assert self._process.stdin
        with suppress(OSError, ValueError):  # it has ended already, which `answer` says
            self._process.stdin.write(f"{request}\n")
            self._process.stdin.flush()

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
    """A worker that writes files.

    Parameters
    ----------
    request, settings, log
        As for :class:`Worker`.

    Attributes
    ----------
    folder
        Where the files go, by their paths under ``artifacts/``, until :meth:`stop`.
    """

    def __init__(self, request: dict[str, Any], settings: pipeline.Settings, log: Log) -> None:
        self._temporary = TemporaryDirectory(prefix="dsocr_worker_", ignore_cleanup_errors=True)
        self.folder = Path(self._temporary.name)
        request = request | {"folder": str(self.folder)}
        super().__init__(request, settings, log)

    def files(self) -> dict[str, Path]:
        """Wait for the files and return them by path."""
        self.answer("done")
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path for path in files}

    def stop(self) -> None:
        """End it and remove its files."""
        super().stop()
        self._temporary.cleanup()


class ReportWorker(FileWorker):
    """A worker that writes the reports of all but the main workload and GPU.

    Parameters
    ----------
    settings, log
        As for :class:`Worker`.
    classes
        Module classes of the trace.
    prepares
        Whether it first makes tables and formulas.
    """

    def __init__(
        self,
        settings: pipeline.Settings,
        classes: frozenset[str],
        *,
        prepares: bool,
        log: Log,
    ) -> None:
        self._prepares = prepares
        request = {"request": "reports", "classes": sorted(classes), "prepares": prepares}
        super().__init__(request, settings, log)

    def tables(self) -> Any:
        """Wait for the tables as JSON holds them; None if it makes none."""
        return self.answer("tables")["tables"] if self._prepares else None

    def formulas(self) -> str | None:
        """Wait for the formulas as a script, after the tables; None if it makes none."""
        return str(self.answer("formulas")["formulas"]) if self._prepares else None


class TraceWorker(FileWorker):
    """A worker that traces, and writes torchinfo's files.

    Parameters
    ----------
    settings, log
        As for :class:`Worker`.
    """

    def __init__(self, settings: pipeline.Settings, log: Log) -> None:
        super().__init__({"request": "trace"}, settings, log)

    def classes(self) -> frozenset[str]:
        """Wait for the model, which is there before it is traced, and return its classes."""
        return frozenset(self.answer("classes")["classes"])

    def static(self) -> StaticAnalysis:
        """Wait for the trace and return it without torchinfo's files."""
        found = self.answer("artifacts")
        return from_artifacts(found["artifacts"], found["reason"])


class PairWorker(Worker):
    """A worker that makes the pages of other pairs of a workload and a GPU.

    Parameters
    ----------
    settings, log
        As for :class:`Worker`.
    static
        The trace.
    pairs
        Which pairs, in the order of :meth:`pages`.
    files
        Paths under ``artifacts/`` of the files that the site has.
    style
        How pages are linked.
    """

    def __init__(
        self,
        settings: pipeline.Settings,
        static: StaticAnalysis,
        pairs: Sequence[Shown],
        files: Sequence[str],
        style: str,
        *,
        log: Log,
    ) -> None:
        traces = {
            name: static.artifacts[name] for name in (TRACE, VENDOR) if name in static.artifacts
        }
        trace = {"traces": traces, "reason": static.device_reason, "is_shipped": static.is_shipped}
        request = {"request": "pairs", "pairs": pairs, "files": files, "style": style, **trace}
        super().__init__(request, settings, log)

    def pages(self) -> dict[str, str]:
        """Wait for the pages of the next pair and return their Markdown by path."""
        pages: dict[str, str] = self.answer("pages")["pages"]
        return pages


def with_torchinfo(static: StaticAnalysis, files: Mapping[str, Path]) -> StaticAnalysis:
    """Return a trace with torchinfo's files, which its worker made."""
    texts = {n: files[f"static/{n}"].read_text(encoding="utf-8") for n in TORCHINFO}
    return dataclasses.replace(static, artifacts=texts | static.artifacts)


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


def pages_of_edited_code(
    settings: pipeline.Settings,
    style: str,
    *,
    log: Log,
    only: Sequence[str] | None = None,
    files: Sequence[str] = (),
) -> Pages:
    """Return the pages as the code on disk makes them: it changed after it was imported.

    Parameters
    ----------
    settings, log
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
    worker = Worker(request, settings, log)
    content = worker.answer("pages")
    others = {name: base64.b64decode(data) for name, data in content["others"].items()}
    return Pages(content["pages"], others, content["nav"], content["failures"])
