"""The report's YAML: what PyYAML's own writer makes of the same data, by a shorter way."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from mkdocs_dsocr.report.yaml_text import yaml_text

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
# Text that is read as something else without quotes.
WORDS = st.sampled_from(
    ["yes", "null", "~", "1e3", "1_000", "0x1f", "2026-11-28", "- a", "a: b", ""]
)
DATA = st.recursive(
    SCALARS | WORDS,
    lambda items: st.lists(items) | st.dictionaries(st.text() | WORDS, items),
    max_leaves=20,
)


class _WithoutAnchors(yaml.CSafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


@given(DATA)
def test_it_is_what_pyyaml_writes(data: object) -> None:
    text = yaml.dump(data, Dumper=_WithoutAnchors, sort_keys=False, allow_unicode=True)
    assert yaml_text(data) == text
