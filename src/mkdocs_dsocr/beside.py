"""Work in a process beside the build: the trace, which pages wait for, and files, which none does.

python -m mkdocs_dsocr.beside < request.json; answers a JSON object a line.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from mkdocs_dsocr import outputs, pipeline
from mkdocs_dsocr.cache import default_cache
from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.inputs.errors import room_to_write
from mkdocs_dsocr.static import TORCHINFO, Log, Static, from_artifacts, static_analysis


class Beside:
    """A process that traces, where that is asked for, and writes files.

    Parameters
    ----------
    settings
        What is analysed.
    folder
        Where the files go, by their paths under ``artifacts/``.
    classes
        Module classes of the trace; None where there is none yet: then it is made, too.
    uses_cache
        Whether the trace is kept.
    log
        Told what is done.
    """

    def __init__(
        self,
        settings: pipeline.Settings,
        folder: Path,
        classes: frozenset[str] | None,
        *,
        uses_cache: bool,
        log: Log,
    ) -> None:
        self.folder, self._log = folder, log
        command = [sys.executable, "-m", "mkdocs_dsocr.beside"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, encoding="utf-8")
        request = {
            "settings": settings.to_json(),
            "folder": str(folder),
            "classes": sorted(classes) if classes is not None else None,
            "cache": uses_cache,
        }
        assert self._process.stdin
        with self._process.stdin as stdin:
            json.dump(request, stdin)
        self._answers: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def is_running(self) -> bool:
        return self._reader.is_alive()

    def static(self) -> Static:
        """Wait for the trace and return it without torchinfo's files.

        Raises
        ------
        InputError
            If there is none.
        """
        found = self._until("artifacts")
        return from_artifacts(found["artifacts"], found["reason"])

    def wait(self) -> None:
        """Wait for the files.

        Raises
        ------
        InputError
            If they could not be made.
        """
        self._until("done")

    def with_files(self, static: Static) -> Static:
        """Return a trace with torchinfo's files, which :meth:`wait` waited for."""
        files = {n: (self.folder / "static" / n).read_text(encoding="utf-8") for n in TORCHINFO}
        return dataclasses.replace(static, artifacts=files | static.artifacts)

    def stop(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout
        with self._process.stdout as stdout:
            for line in stdout:
                self._answers.put(json.loads(line))
        self._process.wait()
        self._answers.put(None)

    def _until(self, key: str) -> dict[str, Any]:
        while (answer := self._answers.get()) is not None:
            if "error" in answer:
                raise InputError(*answer["error"])
            if "log" in answer:
                self._log(answer["log"])
            if key in answer:
                return answer
        ending = f"a process that ended early with status {self._process.returncode}"
        raise InputError("static analysis", "", ending, "one that says why: see its words above")


def main() -> None:
    """Answer a request on standard input."""
    request = json.load(sys.stdin)
    settings = pipeline.Settings.from_json(request["settings"])
    cache = default_cache() if request["cache"] else None
    # What other code prints goes to standard error, lest it is taken for an answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(**answer: Any) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    try:
        analyses = pipeline.analyse(settings)
        files: dict[str, str] = {}
        if request["classes"] is None:
            static = static_analysis(
                analyses,
                settings.device,
                lambda message: say(log=message),
                cache,
                trust=settings.trust_remote_code,
                early=lambda s: say(artifacts=s.artifacts, reason=s.device_reason),
            )
            files = {f"static/{name}": static.artifacts[name] for name in TORCHINFO}
            classes = static.classes
        else:
            classes = frozenset(request["classes"])
        files |= outputs.other_reports(pipeline.with_classes(analyses, classes))
        with room_to_write(request["folder"]):
            for path, text in files.items():
                target = Path(request["folder"]) / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")
        say(done=True)
    except InputError as error:
        say(error=[error.source, error.key, error.found, error.allowed])
    except BrokenPipeError:
        os._exit(1)  # the build that asked is gone, and so is who would read a traceback


if __name__ == "__main__":
    main()
