"""Reviews of layers and assumptions: what they cover, and whether they are current.

A review covers formulas. Each has an id that never changes: the analytic layer, the operation and
the figure, under the names that they had first (``Operation.id``, ``BaseLayer.first_names``). Names
and explanations are wording: if only they change, the review stays current.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from mkdocs_dsocr.inputs.reviews import Entry, Reviews, load_reviews
from mkdocs_dsocr.layers import metrics, tree
from mkdocs_dsocr.layers.layer import Child, Layer, Rationale
from mkdocs_dsocr.layers.operations import Keep, Operation
from mkdocs_dsocr.quantities import Symbol, total
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.left_out import not_modelled
from mkdocs_dsocr.site.canonical import canonical_text
from mkdocs_dsocr.site.forms import Form, options
from mkdocs_dsocr.site.layer_page import layer_pages
from mkdocs_dsocr.site.notation import text

State = Literal["approved", "questioned", "stale", "not reviewed"]
SEPARATOR: Final = " | "
KEPT: Final = "kept in memory"
EDITED: Final = "the rows were edited: they do not fit the entry's fingerprint"
RATIONALE: Final = tuple(name.replace("_", " ") for name in Rationale._fields)
CALL: Final = re.compile(r"(?P<layer>\w+)\((?P<arguments>.*)\)(?P<counts> × \S+ × \S+)")
AGAIN: Final = re.compile(r" \(\d+\)$")
ARGUMENTS: Final = re.compile(r", (?=\w+ ← )")


class Row(NamedTuple):
    """A row of what there is to review.

    Attributes
    ----------
    id, text
        Its stable id within the layer, and the formula or the wording.
    is_wording
        Whether it is a text, not a formula.
    since
        Version of the reviews file that has it first.
    """

    id: str
    text: str
    is_wording: bool = False
    since: int = 1


@dataclass(frozen=True)
class Rows:
    """Formulas and wording by stable id."""

    formulas: dict[str, str] = field(default_factory=dict)
    wording: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Rows:
        """Return rows as two mappings."""
        found = list(rows)
        return cls(
            {r.id: r.text for r in found if not r.is_wording},
            {r.id: r.text for r in found if r.is_wording},
        )

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the formulas that does not depend on how they are written."""
        return digest({id_: canonical_row(words) for id_, words in self.formulas.items()})


@dataclass(frozen=True)
class Reviewed:
    """A layer or an assumption and its review.

    Attributes
    ----------
    kind, name
        ``layers`` or ``assumptions``, and its name.
    now
        What there is to review.
    entry
        Its review; None if it has none.
    changes
        Formulas that differ from what was reviewed.
    rewordings
        Names and explanations that differ.
    """

    kind: str
    name: str
    now: Rows
    entry: Entry | None
    changes: tuple[str, ...] = ()
    rewordings: tuple[str, ...] = ()

    @property
    def state(self) -> State:
        if self.entry is None:
            return "not reviewed"
        return "stale" if self.changes else self.entry.status

    @property
    def is_settled(self) -> bool:
        """Whether its formulas are those that were reviewed."""
        return self.state in ("approved", "questioned")

    @property
    def fingerprint(self) -> str:
        return self.now.fingerprint


def reviewed(analysis: Analysis, path: Path) -> list[Reviewed]:
    """Return every layer and assumption of an analysis with its review.

    Raises
    ------
    InputError
        If the reviews file is not valid.
    """
    reviews: Reviews = load_reviews(path)
    found = []
    for name, page in layer_pages(analysis).items():
        entry, names = reviews.layers.get(name), {_title(f): _heading(f) for f in page.forms}
        found.append(_compared("layers", name, list(layer_rows(page.forms)), entry, names))
    for name, words in not_modelled(analysis.config).items():
        rows = [Row("assumption", name, since=2), Row(name, words, is_wording=True)]
        found.append(_compared("assumptions", name, rows, reviews.assumptions.get(name)))
    return found


def digest(rows: Mapping[str, str]) -> str:
    """Return 16 hexadecimal digits that another set of rows does not have."""
    return hashlib.sha256(json.dumps(sorted(rows.items())).encode()).hexdigest()[:16]


def canonical_row(words: str) -> str:
    """Return a formula, or a call with a formula for each argument, in canonical form."""
    call = CALL.fullmatch(words)
    if call is None:
        return canonical_text(words)
    given = [a.partition(" ← ") for a in ARGUMENTS.split(call["arguments"]) if a]
    arguments = sorted(f"{name} ← {canonical_text(value)}" for name, _, value in given)
    return f"{call['layer']}({', '.join(arguments)}){call['counts']}"


def layer_rows(forms: list[Form]) -> Iterator[Row]:
    """Yield what there is to review of a layer: formulas in its symbols, and its wording.

    Formulas are those of its forward. What a workload chooses is no part of them: formats, casts
    and whether kernels are fused.
    """
    known: set[str] = set()
    formulas: dict[str, Rows] = {}
    for form in forms:
        layer, title = form.example.layer, _title(form)
        rows = list(_rows(dataclasses.replace(layer.symbolic(), precision=None)))
        own = Rows.of(rows)
        same = formulas.setdefault(title, own) if layer.dimensions() else own
        if same is not own and same.formulas == own.formulas:
            continue  # they differ in an option without a first name, which changes no formula
        for row in rows:
            id_, again = f"{title}{SEPARATOR}{row.id}", 2
            while id_ in known:
                id_, again = f"{title}{SEPARATOR}{row.id} ({again})", again + 1
            known.add(id_)
            yield row._replace(id=id_)


def _title(form: Form) -> str:
    """Return a form's identity: the first names of its class and options, and their values."""
    first = form.example.layer.first_names
    named = {first.get(k, k): v for k, v in options(form.example.layer).items()}
    chosen = ", ".join(f"{k} = {v}" for k, v in named.items() if k)
    name = first.get(form.name, form.name)
    return f"{name} ({chosen})" if chosen else name


def _heading(form: Form) -> str:
    """Return a form's name on the page of its class."""
    return f"{form.name}: {form.variant}" if form.variant else form.name


def _rows(layer: Layer) -> Iterator[Row]:
    for name, dimension in layer.dimensions().items():
        yield Row(f"{dimension.symbol}, unit", dimension.unit, since=2)
        yield Row(f"{dimension.symbol}, meaning", f"{name}: {dimension.meaning}", True, since=2)
    for part in layer.forward():
        if isinstance(part, Operation):
            yield from _operation(part)
        elif isinstance(part, Child):
            yield Row(f"{part.name}, a call", _call(part))
    for kernel in layer.kernels():
        group = kernel.operations[0].kernel
        id_ = layer.first_names.get(group, group) or kernel.operations[0].stable_id
        yield Row(f"{id_}, bytes of the kernel", text(kernel.io_bytes))
        if group not in ("", id_):
            yield Row(f"{id_}, name of the kernel", group, is_wording=True)
    kept = [p for p in layer.schedule if isinstance(p, Keep)]
    if kept:
        size = total(t.bytes for k in kept for t in k.tensors)
        yield Row(f"{KEPT}, bytes", text(size), since=2)
        yield Row(KEPT, "; ".join(", ".join(t.name for t in k.tensors) for k in kept), True)
    yield Row("parameters", text(total(p.elements for p in layer.parameters())))
    if layer.dimensions():  # else it is a number, which the workload decides
        yield Row("KV cache", text(tree.resident(layer, metrics.kvcache_bytes)))
    for name, words in zip(RATIONALE, layer.rationale, strict=True):
        yield Row(name, words, is_wording=True)


def _operation(operation: Operation) -> Iterator[Row]:
    id_ = operation.stable_id
    yield Row(f"{id_}, FLOPs", text(total((operation.matmul_flops, operation.elementwise_flops))))
    yield Row(f"{id_}, bytes", text(operation.eager_bytes))
    yield Row(f"{id_}, category", operation.category, since=2)
    yield Row(f"{id_}, tensor-core FLOPs", text(operation.tensor_core_flops), since=2)
    if operation.name != id_:
        yield Row(f"{id_}, name", operation.name, is_wording=True)
    if operation.why:
        yield Row(f"{id_}, why", operation.why, is_wording=True, since=2)


def _call(part: Child) -> str:
    arguments = ", ".join(
        f"{dimension.symbol} ← {text(value)}"
        for field_, dimension in part.layer.dimensions().items()
        if (value := getattr(part.layer, field_)) != Symbol(dimension.symbol)
    )
    return f"{part.layer.class_name()}({arguments}) × {part.count} × {part.calls}"


def _compared(
    kind: str,
    name: str,
    rows: list[Row],
    entry: Entry | None,
    names: Mapping[str, str] = MappingProxyType({}),
) -> Reviewed:
    """Return rows with their review; `names` are those of forms on the layer's page, by title."""
    now = Rows.of(rows)
    if entry is None:
        return Reviewed(kind, name, now, None)
    if not entry.reviewed and not entry.formulas:
        changes = () if entry.fingerprint == now.fingerprint else ("a formula changed",)
        return Reviewed(kind, name, now, entry, changes)
    before, compared = Rows(entry.formulas, entry.wording), now
    expected = before.fingerprint
    if entry.reviewed:
        before, compared = _first_version(entry.reviewed), Rows.of(r for r in rows if r.since == 1)
        expected = digest(entry.reviewed)
    if entry.fingerprint != expected:
        return Reviewed(kind, name, now, entry, (EDITED,))
    return Reviewed(
        kind,
        name,
        now,
        entry,
        tuple(_changes(before.formulas, compared.formulas, canonical_row, names)),
        tuple(_changes(before.wording, compared.wording, str, names)),
    )


def _first_version(rows: Mapping[str, str]) -> Rows:
    """Return the rows of an entry that the first version wrote, formulas and wording apart."""
    found = Rows()
    for id_, words in rows.items():
        _, separator, name = id_.rpartition(SEPARATOR)
        is_wording = not separator or AGAIN.sub("", name) in (*RATIONALE, KEPT)
        (found.wording if is_wording else found.formulas)[id_] = words
    return found


def _changes(
    before: Mapping[str, str],
    now: Mapping[str, str],
    form: Callable[[str], str],
    names: Mapping[str, str],
) -> Iterator[str]:
    """Yield what differs; forms that this workload does not show are not compared.

    A figure that is new and 0, or is gone and was a number, is no difference: no formula.
    """
    shown = {id_.partition(SEPARATOR)[0] for id_ in now}
    for id_, words in now.items():
        if id_ not in before:
            if words != "0":
                yield f"{_named(id_, names)}: new, {words}"
        elif form(before[id_]) != form(words):
            yield f"{_named(id_, names)}: was {before[id_]}, is {words}"
    for id_, words in before.items():
        if id_ not in now and id_.partition(SEPARATOR)[0] in shown and not words.isdigit():
            yield f"{_named(id_, names)}: gone, was {words}"


def _named(id_: str, names: Mapping[str, str]) -> str:
    """Return a row's id with the name that its form has on the layer's page."""
    title, separator, row = id_.partition(SEPARATOR)
    return f"{names.get(title, title)}{separator}{row}"
