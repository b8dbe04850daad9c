"""The pages that are open in browsers while a server runs: an edit updates those first."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from wsgiref.types import StartResponse, WSGIEnvironment

from mkdocs.livereload import LiveReloadServer

MOST: Final = 3
"""Pages that are updated first.

A closed page counts as open for up to a minute, and so does one that ``navigation.instant``
replaced.
"""


class Readers:
    """Records which pages are open.

    The script in each served page requests ``/livereload/…`` with the page as the referrer. MkDocs
    answers when the site has changed, or after a minute.

    Parameters
    ----------
    server
        The server of the site.
    """

    def __init__(self, server: LiveReloadServer) -> None:
        self._lock = threading.Lock()
        self._waiting: list[str] = []
        self._inner: Any = server.get_app()
        server.set_app(self._answer)

    def pages(self) -> list[str]:
        """Return the paths of the latest open pages, the newest first, without ``index.html``."""
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
    """Return the path of a URL, such as ``/dsocr/``, without ``index.html``."""
    return unquote(urlsplit(url).path).removesuffix("index.html")
