"""What the page of one module class shows, gathered from the analysis."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from markupsafe import Markup

from mkdocs_dsocr.cost.totals import Node, Totals, merged
from mkdocs_dsocr.layers.builtin import ModuleList, Sequential
from mkdocs_dsocr.layers.layer import Child
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Operation
from mkdocs_dsocr.models import STAGES
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.site import notation, svg
from mkdocs_dsocr.site.charts import bars
from mkdocs_dsocr.site.dataflow import dataflow
from mkdocs_dsocr.site.families import named_bars
from mkdocs_dsocr.site.forms import Form, form_key, forms
from mkdocs_dsocr.site.parts import Part, part_bars, times_of
from mkdocs_dsocr.site.roofline import points, roofline
from mkdocs_dsocr.site.rows import StageRow, Table
from mkdocs_dsocr.site.source import Source, source_of

LONG = 40
"""Characters of text from which a formula is not written again for another row."""


@dataclass(frozen=True)
class Call:
    """A node of the class: its shape, its share of the time with children, and its form."""

    node: Node
    shape: Markup
    share: float
    form: Form

    @property
    def flops_per_byte(self) -> float:
        total = self.node.total
        return total.flops / total.io_bytes if total.io_bytes else 0.0


class LayerPage:
    """The content of one layer page.

    Parameters
    ----------
    analysis
        The main workload on the main GPU.
    class_name
        The module class.
    """

    def __init__(self, analysis: Analysis, class_name: str) -> None:
        self.analysis, self.class_name = analysis, class_name
        self.nodes = analysis.classes[class_name]

    @cached_property
    def forms(self) -> list[Form]:
        return forms(self.nodes)

    @cached_property
    def outermost(self) -> list[Node]:
        """The nodes of the class that are inside no other node of the class."""
        return [
            node
            for node in self.nodes
            if all(above.class_name != self.class_name for above in _ancestors(self.analysis, node))
        ]

    @cached_property
    def total(self) -> Totals:
        """All nodes of the class, children included, each child counted once."""
        return merged(n.total for n in self.outermost)

    @property
    def uri(self) -> str:
        return f"layers/{self.class_name}.md"

    @property
    def summary(self) -> str:
        """What the class is: its own definition, or its namesake layer's."""
        form = self.forms[0]
        definition = self.nodes[0].visit.layer.definition
        return definition or " ".join(s for s in (form.summary, form.details) if s)

    def dataflow(self, form: Form, layer_link: Callable[[str], str]) -> Markup:
        """Return the flow of tensors through a form; its boxes lead to rows and pages.

        Nothing where a form before this one has the same.
        """
        if any(f.flow == form.flow for f in self._before(form)):
            return Markup("")

        def target(part: Operation | Child) -> str:
            if isinstance(part, Operation):
                return f"#{self.row_id(form, part.name)}"
            return (
                layer_link(part.layer.class_name())
                if part.layer.is_module
                else "#operations-and-formulas"
            )

        return dataflow(form.example.layer, f"Dataflow of {form.name}", target)

    def row_id(self, form: Form, name: str) -> str:
        """Return the id of an operation's row: no two rows of a form have the same."""
        first = dict.fromkeys(form.flow)
        same = [other for other in first if _slug(other) == _slug(name)]
        number = same.index(name) if name in same else 0
        return self._id(form, f"{_slug(name)}-{number + 1}" if number else _slug(name))

    def table_id(self, form: Form, table: Table) -> str:
        """Return the id of a form's table, or of the next more general one that it has."""
        tables: tuple[Table, ...] = ("eager", "kernels", "operations")
        more_general = tables[tables.index(table) :]
        return self._id(form, next((t for t in more_general if form.has(t)), "operations"))

    def _id(self, form: Form, part: str) -> str:
        return f"form-{self.forms.index(form) + 1}-{part}"

    def _before(self, form: Form) -> list[Form]:
        return self.forms[: self.forms.index(form)]

    def writer(self, form: Form, tensor: str) -> str:
        """Return the name of the operation of a form that writes a tensor, or nothing."""
        operations = form.example.largest.operations()
        writers = (o.name for o in operations if tensor in [t.name for t in o.writes])
        return next(writers, "")

    def roofline(self, layer_link: Callable[[str], str]) -> Markup:
        """Return the class's place on the roofline, a point for each stage."""
        mine = [p for p in points(self.analysis, STAGES) if p.class_name == self.class_name]
        title = f"{self.class_name} on the roofline"
        drawn = roofline(title, mine, self.analysis, layer_link)
        return svg.wide(title, drawn) if drawn else drawn

    def said(self, form: Form, kind: str, name: str, symbols: Markup) -> str:
        """Return where the same formula stands already: "above", a row's name, or nothing.

        Above: in a form before this one.
        """
        if any((kind, name, symbols) in f.written for f in self._before(form)):
            return "above"
        first = next(n for k, n, s in form.written if (k, s) == (kind, symbols))
        return first if first != name and len(symbols.striptags()) > LONG else ""

    @property
    def sources(self) -> list[str]:
        return sorted({n.visit.layer.source for n in self.nodes})

    @property
    def stages(self) -> list[str]:
        return list(dict.fromkeys(n.stage for node in self.nodes for n in self._passes(node)))

    @property
    def instances(self) -> int:
        return sum({n.visit.torch_path: n.visit.instances for n in self.nodes}.values())

    @property
    def calls(self) -> int:
        return sum(n.calls for n in self.nodes)

    @property
    def share_of_time(self) -> float:
        return _share(self.total.time_ms, self.analysis.root.total.time_ms)

    @property
    def share_of_flops(self) -> float:
        return _share(self.total.flops, self.analysis.root.total.flops)

    @property
    def has_work(self) -> bool:
        return self.total.time_ms > 0

    @property
    def ridge(self) -> float:
        """FLOPs per byte from which tensor cores bind instead of memory."""
        gpu = self.analysis.hardware
        dtype = self.analysis.activation_dtype
        return gpu.peak_tflops(dtype) * 1000 / gpu.bandwidth_gb_s

    @cached_property
    def call_groups(self) -> list[Call]:
        """The nodes of the class, each with its form."""
        time_ms = self.analysis.root.total.time_ms
        known = {form_key(form.example): form for form in self.forms}
        return [
            Call(n, _shape(n), _share(n.total.time_ms, time_ms), known[form_key(n.visit)])
            for n in self.nodes
        ]

    @cached_property
    def stage_rows(self) -> list[StageRow]:
        """The class in each stage that runs it: children included, and its own work."""
        rows = []
        for stage in self.stages:
            mine = [p for n in self.nodes for p in self._passes(n) if p.stage == stage]
            outer = [p for n in self.outermost for p in self._passes(n) if p.stage == stage]
            rows.append(
                StageRow(
                    stage,
                    sum(n.calls for n in mine),
                    merged(n.total for n in outer),
                    merged(n.own for n in mine if n.class_name == self.class_name),
                    self.analysis.stage_times[stage].is_host_bound,
                )
            )
        return rows

    def _passes(self, node: Node) -> list[Node]:
        """Return the node, or its passes where it is the whole model, which is in no stage."""
        is_whole = node.visit.parent_id is None
        return [self.analysis.nodes[c] for c in node.children] if is_whole else [node]

    @cached_property
    def own(self) -> Totals:
        """The class's own work, without children."""
        return merged(n.own for n in self.nodes)

    @property
    def time_ms(self) -> float:
        """The time of the whole workload."""
        return self.analysis.predicted_ms

    @cached_property
    def parts(self) -> dict[Part, float]:
        """What the device time of the class consists of, the longest first."""
        return times_of(self.analysis, self.outermost)

    def part_bars(self, layer_link: Callable[[str], str]) -> Markup:
        """Return the largest parts of the device time as bars."""
        title = f"Largest parts of the device time of {self.class_name}"
        return part_bars(title, self.parts, layer_link)

    @property
    def headline_form(self) -> Form | None:
        """The form whose headline says most of the class: the first that has one."""
        return next((form for form in self.forms if form.headline is not None), None)

    @property
    def is_container(self) -> bool:
        """Whether the class only holds others, and has no work of its own."""
        return isinstance(self.nodes[0].visit.layer, ModuleList | Sequential)

    @property
    def by_family(self) -> Markup:
        """The class's device time by operator family, children included, as bars."""
        title = f"Device time of {self.class_name} by operator family, children included"
        return bars(title, named_bars(self.total.families))

    @property
    def parents(self) -> list[str]:
        """Classes that call this one."""
        pairs = _callers(self.analysis)
        return sorted({caller for caller, name in pairs if name == self.class_name} - {""})

    @property
    def children(self) -> list[str]:
        """Classes that this one calls."""
        pairs = _callers(self.analysis)
        return sorted({name for caller, name in pairs if caller == self.class_name})

    @cached_property
    def code(self) -> list[Source]:
        """The source of each form's class, and of those from which it has its formulas."""
        classes = dict.fromkeys(type(node.visit.layer) for node in self.nodes)
        every = dict.fromkeys((*classes, *(base for cls in classes for base in cls.__mro__)))
        written = (cls for cls in every if not vars(cls).get("is_renamed"))
        return [source_of(cls) for cls in written if cls not in BaseLayer.__mro__]


def layer_pages(analysis: Analysis) -> dict[str, LayerPage]:
    """Return the page of each module class; the same objects as long as the inputs are the same."""
    return _layer_pages(analysis.predicted)


@lru_cache(maxsize=2)
def _layer_pages(analysis: Analysis) -> dict[str, LayerPage]:
    return {name: LayerPage(analysis, name) for name in sorted(analysis.classes)}


@lru_cache(maxsize=4)
def _callers(analysis: Analysis) -> frozenset[tuple[str, str]]:
    """Return each class with one that calls it, which is nothing for the outermost."""
    return frozenset(
        (_caller(analysis, node), node.class_name)
        for nodes in analysis.classes.values()
        for node in nodes
    )


def _caller(analysis: Analysis, node: Node) -> str:
    """Return the class that calls a node, or nothing; groups of passes are skipped."""
    classes = (above.class_name for above in _ancestors(analysis, node))
    return next((name for name in classes if name != "Group"), "")


def _ancestors(analysis: Analysis, node: Node) -> Iterator[Node]:
    """Yield the nodes that contain a node, the innermost first."""
    while (parent := analysis.nodes.get(node.visit.parent_id or "")) is not None:
        yield parent
        node = parent


def _slug(name: str) -> str:
    return re.sub(r"\W+", "-", name.lower()).strip("-") or "row"


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _shape(node: Node) -> Markup:
    """Return the values of a node's dimensions; ``first … last`` where they grow."""
    parts = []
    for name, dimension in node.visit.layer.dimensions().items():
        first, last = (getattr(x, name) for x in (node.visit.layer, node.visit.last))
        value = notation.grouped(first)
        if first != last:
            value += f" … {notation.grouped(last)}"
        parts.append(notation.assignment(dimension.symbol, value))
    return Markup(", ").join(parts)
