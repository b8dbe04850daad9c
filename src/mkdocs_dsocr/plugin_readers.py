"""Which pages browsers show while a server runs: an edit renders those first."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from wsgiref.types import StartResponse, WSGIEnvironment

from mkdocs.livereload import LiveReloadServer

MOST: Final = 3
"""Pages that are rendered first.

A page that a browser has left may be among them for a minute, also one that a theme has replaced
without loading another.
"""


class Readers:
    """Knows which pages wait for a reload.

    A page that MkDocs serves asks ``/livereload/`` for changes, and names itself as the referrer;
    the answer comes when there are some.

    Parameters
    ----------
    server
        The server that is asked.
    """

    def __init__(self, server: LiveReloadServer) -> None:
        self._lock = threading.Lock()
        self._waiting: list[str] = []
        self._inner: Any = server.get_app()
        server.set_app(self._answer)

    def pages(self) -> list[str]:
        """Return the paths of the pages that asked last, the newest first, without index.html."""
        with self._lock:
            return list(dict.fromkeys(reversed(self._waiting)))[:MOST]

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not environ["PATH_INFO"].startswith("/livereload/"):
            return self._inner(environ, start_response)  # type: ignore[no-any-return]
        with self._waits(plain_path(environ.get("HTTP_REFERER", ""))):
            return self._inner(environ, start_response)  # type: ignore[no-any-return]

    @contextmanager
    def _waits(self, page: str) -> Iterator[None]:
        with self._lock:
            self._waiting.append(page)
        try:
            yield
        finally:
            with self._lock:
                self._waiting.remove(page)


def plain_path(url: str) -> str:
    """Return the path of an address, such as ``/dsocr/``, in the form that all its names share."""
    return unquote(urlsplit(url).path).removesuffix("index.html")
