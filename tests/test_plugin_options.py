"""Where the plugin puts its pages: paths, navigation, exclusions, and the inputs of a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from mkdocs.config import load_config
from mkdocs.config.defaults import MkDocsConfig

from mkdocs_dsocr import plugin_watch
from mkdocs_dsocr.build.settings import Settings
from mkdocs_dsocr.inputs import InputError
from mkdocs_dsocr.plugin_options import check_path, is_excluded, is_not_in_nav
from mkdocs_dsocr.plugin_watch import InputWatch, input_stamps
from mkdocs_dsocr.site.navigation import is_named, only
from tests.conftest import TINY_CONFIG
from tests.serving import wait_for


@pytest.mark.parametrize(
    "path", ["dsocr", "a/b", "A-1/b_2", "9", "x" * 100, "console", "com10", "nullable"]
)
def test_a_plain_path_is_taken(path: str) -> None:
    check_path(path, ["other/place"])


HOSTILE = (
    *("", "/", "a/", "/a", "a//b", ".", "..", "a/..", "a/.", "../out", "a/../b", ".hidden"),
    *("sitemap.xml", "404.html", "a\0b", "a\n", "a'b", 'a"b', "a%2e%2e", "%2e%2e", "a\\b", "c:"),
    *("con", "NUL", "a/aux", "com1", "LPT9", "a ", " a", "a b", "a#b", "a?b", "ä", "\u202ea"),
    *("<b>", "{{x}}", "-a", "_a", "a/-b", "x" * 101, "~a", "$a", "a:b", "a*", "a|b"),
)


@pytest.mark.parametrize("path", HOSTILE)
def test_any_other_path_is_refused_by_name(path: str) -> None:
    with pytest.raises(InputError, match=r"mkdocs.yml: path: found .*; allowed: a folder") as said:
        check_path(path, [])
    assert str(said.value).isprintable()


@pytest.mark.parametrize(
    ("one", "two"), [("a", "a"), ("a/b", "a"), ("a", "a/b"), ("A", "a"), ("a/B", "A/b/c")]
)
def test_instances_share_no_folder(one: str, two: str) -> None:
    with pytest.raises(InputError, match="allowed: a folder for each instance"):
        check_path(one, ["other", two])


def test_neighbouring_folders_are_no_conflict() -> None:
    check_path("a/b", ["a/c", "ab", "b"])


@pytest.mark.parametrize(
    ("nav", "is_there"),
    [
        ([{"Out": "https://example.org/dsocr/"}], False),
        ([{"Out": "https://example.org/dsocr/index.md"}, "index.md"], False),
        (["dsocr/index.md"], True),
        ([{"In": [{"Deep": "dsocr/layers/Linear.md"}]}], True),
        ([{"Other": "my-dsocr/index.md"}], False),
    ],
)
def test_only_a_page_of_the_site_names_the_folder(nav: list[Any], is_there: bool) -> None:
    assert is_named(nav, "dsocr") is is_there


def test_a_navigation_without_pages_that_are_not_made() -> None:
    entries = [{"A": "a.md"}, "b.md", {"C": ["c/index.md", {"D": "c/d.md"}]}, {"E": ["e.md"]}]
    assert only(entries, {"a.md", "c/d.md"}) == [{"A": "a.md"}, {"C": [{"D": "c/d.md"}]}]


def _config(folder: Path, more: str = "") -> MkDocsConfig:
    (folder / "docs").mkdir()
    (folder / "docs/index.md").write_text("# Home\n")
    (folder / "mkdocs.yml").write_text(f"site_name: s\nplugins: [dsocr]\n{more}")
    return load_config(str(folder / "mkdocs.yml"))


def test_excluded_assets_are_not_linked(tmp_path: Path) -> None:
    config = _config(tmp_path, "exclude_docs: |\n  dsocr/*.md\n  dsocr/assets/*.js\n")
    config.plugins["dsocr"].on_config(config)
    assert config.extra_css == ["dsocr/assets/dsocr.css"]
    assert config.extra_javascript == []
    assert is_excluded(config, "dsocr/index.md")
    assert not is_excluded(config, "dsocr/layers/Linear.md")


def test_not_in_nav_is_a_place(tmp_path: Path) -> None:
    config = _config(tmp_path, "not_in_nav: dsocr/\n")
    assert is_not_in_nav(config, "dsocr/index.md")
    assert not is_not_in_nav(config, "index.md")


class _Server:
    """Knows what it was told to watch."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def watch(self, path: str) -> None:
        self.paths.append(path)


@pytest.mark.parametrize("change", ["appear", "edit", "disappear", "replace"])
def test_whatever_becomes_of_an_input_is_seen(tmp_path: Path, change: str) -> None:
    (tmp_path / "config.json").write_text(TINY_CONFIG)
    (tmp_path / "w.yaml").write_text("profile_id: w\n")
    settings = Settings(f"{tmp_path}/", ("w.yaml",), reviews="later.yaml", base=tmp_path)
    server = _Server()
    watch = InputWatch(server, lambda: None)  # type: ignore[arg-type]
    try:
        (trigger,) = map(Path, server.paths)
        watch.follow(settings, input_stamps(settings))
        assert trigger.read_text() == ""
        if change == "appear":
            (tmp_path / "later.yaml").write_text("layers: {}\n")
        elif change == "edit":
            (tmp_path / "w.yaml").write_text("profile_id: other\n")
        elif change == "disappear":
            (tmp_path / "w.yaml").unlink()
        else:
            (tmp_path / "new").write_text("profile_id: new\n")
            os.replace(tmp_path / "new", tmp_path / "w.yaml")
        wait_for(lambda: trigger.read_text() == ".", 20)
    finally:
        watch.stop()
    assert not trigger.exists()


def test_an_input_that_stays_asks_for_nothing(tmp_path: Path) -> None:
    server = _Server()
    watch = InputWatch(server, lambda: None)  # type: ignore[arg-type]
    settings = Settings()
    watch.follow(settings, input_stamps(settings))
    watch._ended.wait(1.5)
    assert Path(server.paths[0]).read_text() == ""
    watch.stop()


def test_more_to_show_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_watch, "INTERVAL", 0.02)
    server, more = _Server(), list[int | None]([None])
    watch = InputWatch(server, lambda: more[0])  # type: ignore[arg-type]
    trigger = Path(server.paths[0])
    try:
        # A build that shows less than there is may follow another one at once.
        for more[0], asked in ((1, "."), (2, ".."), (None, ".."), (2, "...")):
            wait_for(lambda asked=asked: trigger.read_text() == asked, 20)  # type: ignore[misc]
            watch._ended.wait(0.3)
            assert trigger.read_text() == asked
    finally:
        watch.stop()
