"""Predicted kernel times do not become worse than recorded, for any GPU and figure."""

from __future__ import annotations

import json

from benchmarks.accuracy import RECORDED, lines, rows, validation


def test_no_error_grows() -> None:
    found = rows()
    allowed = json.loads(RECORDED.read_text(encoding="utf-8"))
    errors = validation(found)
    assert set(errors) == set(allowed)
    worse = {
        name: (error, allowed[name])
        for name, error in errors.items()
        if error > allowed[name] + 0.001
    }
    assert not worse, "\n".join([str(worse), *lines(found)])
