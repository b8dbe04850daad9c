"""An edit while a server runs: what browsers show is made first, the rest in a further build."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config

from mkdocs_dsocr.build import sites
from mkdocs_dsocr.plugin import DsocrPlugin
from mkdocs_dsocr.plugin_readers import MOST, Readers
from mkdocs_dsocr.site.pages import CHANGED
from tests.conftest import ROOT
from tests.sharing import shipped_result

WORKLOAD = (ROOT / "data/workloads/dsocr-standard-v1.yaml").read_text(encoding="utf-8")
YML = "site_name: s\nplugins:\n  - dsocr: {workloads: [w.yaml], markdown_twins: false}\n"
PAGES = ("index.html", "workload/index.html", "layers/Linear/index.html")


def words(page: str) -> str:
    """Return what a page says."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


class Waiting:
    """A server whose pages wait for changes until they are let go."""

    def __init__(self) -> None:
        self._app: Any = self._wait
        self._end = threading.Event()
        self._threads: list[threading.Thread] = []
        self.answered: list[str] = []

    def get_app(self) -> Any:
        return self._app

    def set_app(self, app: Any) -> None:
        self._app = app

    def _wait(self, environ: Any, start_response: Any) -> list[bytes]:
        self.answered.append(environ["PATH_INFO"])
        if environ["PATH_INFO"].startswith("/livereload/"):
            self._end.wait()
        return [b"1"]

    def ask(self, path: str, referrer: str = "") -> None:
        """Ask for a path as a browser does, and wait until the question has arrived."""
        environ = {"PATH_INFO": path} | ({"HTTP_REFERER": referrer} if referrer else {})
        number = len(self.answered)
        thread = threading.Thread(target=self._app, args=(environ, None), daemon=True)
        thread.start()
        self._threads.append(thread)
        while len(self.answered) == number:
            threading.Event().wait(0.01)

    def let_go(self) -> None:
        """Answer every question."""
        self._end.set()
        for thread in self._threads:
            thread.join()


def test_pages_that_wait_for_a_reload_are_known() -> None:
    server = Waiting()
    readers = Readers(server)  # type: ignore[arg-type]
    server.ask("/dsocr/")
    assert readers.pages() == []
    for name in ("memory/", "layers/index.html", "a%20b/?x=1#y", "memory/"):
        server.ask("/livereload/1/2", f"http://127.0.0.1:8000/dsocr/{name}")
    assert readers.pages() == ["/dsocr/memory/", "/dsocr/a b/", "/dsocr/layers/"]
    for number in range(MOST):
        server.ask("/livereload/1/2", f"http://127.0.0.1:8000/{number}/")
    assert readers.pages() == ["/2/", "/1/", "/0/"]
    server.let_go()
    assert readers.pages() == []


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[DsocrPlugin]:
    """The plugin of a server that has built a site once."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("# Home\n")
    (tmp_path / "mkdocs.yml").write_text(YML)
    (tmp_path / "w.yaml").write_text(WORKLOAD)
    config = load_config(str(tmp_path / "mkdocs.yml"))
    config.plugins.on_startup(command="serve", dirty=False)
    build(config)
    found = config.plugins["dsocr"]
    assert isinstance(found, DsocrPlugin)
    yield found
    config.plugins.on_shutdown()


@pytest.fixture
def pages(tmp_path: Path) -> Callable[[], list[str]]:
    """What builds the site once more and returns the words of its pages."""

    def built() -> list[str]:
        build(load_config(str(tmp_path / "mkdocs.yml")))
        return [words((tmp_path / "site/dsocr" / name).read_text()) for name in PAGES]

    return built


def test_an_edit_makes_first_what_browsers_show_and_all_where_they_show_none(
    tmp_path: Path, plugin: DsocrPlugin, pages: Callable[[], list[str]]
) -> None:
    plugin._readers = SimpleNamespace(pages=lambda: [])  # type: ignore[assignment]
    (tmp_path / "w.yaml").write_text(WORKLOAD.replace("num_pages: 1", "num_pages: 2"))
    before = pages()
    assert "Pages 2" in before[1]
    assert not any(words(CHANGED) in page for page in before)
    plugin._readers = SimpleNamespace(pages=lambda: ["/dsocr/workload/", "/"])  # type: ignore[assignment]
    (tmp_path / "w.yaml").write_text(WORKLOAD.replace("num_pages: 1", "num_pages: 30"))
    first = pages()
    assert plugin._more() is not None
    assert "Pages 30" in first[1]
    assert "Pages 30" not in before[1]
    assert [words(CHANGED) in page for page in first] == [True, False, True]
    rest = pages()
    assert plugin._more() is None
    assert not any(words(CHANGED) in page for page in rest)
    assert rest[1] == first[1]
    assert all(page != earlier for page, earlier in zip(rest, before, strict=True))
    # A further edit does all of it again, also while other pages are open.
    plugin._readers = SimpleNamespace(pages=lambda: ["/"])  # type: ignore[assignment]
    (tmp_path / "w.yaml").write_text(WORKLOAD.replace("num_pages: 1", "num_pages: 2"))
    assert all(words(CHANGED) in page for page in pages())
    # One that is wrong is shown everywhere.
    plugin._readers = SimpleNamespace(pages=lambda: ["/dsocr/workload/", "/"])  # type: ignore[assignment]
    (tmp_path / "w.yaml").write_text(WORKLOAD.replace("num_pages: 1", "num_pages: 0"))
    assert all("num_pages: found 0" in page for page in pages())
    (tmp_path / "w.yaml").write_text(WORKLOAD.replace("num_pages: 1", "num_pages: 2"))
    assert pages() == before
    assert plugin._more() is None
    # Options of the site decide which pages there are: all are made at once.
    yml = YML.replace("{workloads", "{path: other, workloads") + "exclude_docs: other/layers/\n"
    (tmp_path / "mkdocs.yml").write_text(yml)
    build(load_config(str(tmp_path / "mkdocs.yml")))
    assert plugin._more() is None
    shown = [p.name for p in (tmp_path / "site").iterdir() if p.is_dir()]
    assert "other" in shown
    assert "dsocr" not in shown
    assert not (tmp_path / "site/other/layers").exists()


def test_an_edit_of_another_page_leaves_all_files(
    tmp_path: Path, plugin: DsocrPlugin, pages: Callable[[], list[str]]
) -> None:
    yml = YML.replace("{workloads", "{hardware: [rtx-5090, h100-sxm], workloads")
    (tmp_path / "mkdocs.yml").write_text(yml)
    pages()
    before = sorted(path for path in (tmp_path / "site").rglob("*") if path.is_file())
    assert any(path.parent.name == "h100-sxm" for path in before)
    (tmp_path / "docs/index.md").write_text("# Home again\n")
    pages()
    assert sorted(path for path in (tmp_path / "site").rglob("*") if path.is_file()) == before


def test_some_pages_are_those_of_the_site() -> None:
    result = shipped_result()
    _, pages, others = sites.site_files(result, "html")
    files = [name.removeprefix("artifacts/") for name in others if name.startswith("artifacts/")]
    only = ["index.md", "sweeps.md", "artifacts.md", "layers/Linear.md"]
    assert sites.some_pages(result, "html", only, files) == {name: pages[name] for name in only}
    assert sites.some_pages(result, "html", ["none.md"], files) is None
    # Figures that need more than 64 bits.
    workload = result.main.workload.model_copy(update={"max_new_tokens": 9_000_000})
    large = dataclasses.replace(result.main, workload=workload)
    result = dataclasses.replace(result, analyses=((large,),))
    assert sites.some_pages(result, "html", ["index.md"], files) is None
