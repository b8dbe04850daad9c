"""What the page of one module class shows, gathered from the analysis."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from markupsafe import Markup

from mkdocs_dsocr.cost.totals import Node, Totals, merged
from mkdocs_dsocr.layers.categories import CATEGORIES
from mkdocs_dsocr.layers.layer import Child
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.layers.operations import Operation
from mkdocs_dsocr.models import STAGES
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.site import notation, units
from mkdocs_dsocr.site.charts import bars
from mkdocs_dsocr.site.dataflow import dataflow
from mkdocs_dsocr.site.forms import Form, form_key, forms
from mkdocs_dsocr.site.roofline import points, roofline
from mkdocs_dsocr.site.rows import Table
from mkdocs_dsocr.site.source import Source, source_of

LONG = 400
"""Characters of markup from which a formula is not written again for another row."""


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
            if all(above.class_name != self.class_name for above in self._ancestors(node))
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
            return layer_link(part.layer.class_name()) if part.layer.is_module else "#what-it-costs"

        return dataflow(form.example.layer, f"Dataflow of {form.name}", target)

    def row_id(self, form: Form, name: str) -> str:
        """Return the id of an operation's row."""
        return self._id(form, re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "row")

    def table_id(self, form: Form, table: Table) -> str:
        """Return the id of a form's table; of its operations where it has no such table."""
        return self._id(form, table if form.has(table) else "operations")

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
        return roofline(f"{self.class_name} on the roofline", mine, self.analysis, layer_link)

    def said(self, form: Form, kind: str, name: str, symbols: Markup) -> str:
        """Return where the same formula stands already: "above", a row's name, or nothing.

        Above: in a form before this one, or as the kernel that has no other operation.
        """
        alone = ((k.operations, k.formula.symbols) for k in form.kernels)
        if kind == "eager" and ((name,), symbols) in alone:
            return "above"
        if any((kind, name, symbols) in f.written for f in self._before(form)):
            return "above"
        first = next(n for k, n, s in form.written if (k, s) == (kind, symbols))
        return first if first != name and len(symbols) > LONG else ""

    @property
    def sources(self) -> list[str]:
        return sorted({n.visit.layer.source for n in self.nodes})

    @property
    def stages(self) -> list[str]:
        return list(dict.fromkeys(n.stage for n in self.nodes if n.stage != "other"))

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
        dtype = self.analysis.report.workload.activation_dtype
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

    @property
    def by_stage(self) -> Markup:
        """The class's time in each stage, as bars."""
        times = dict.fromkeys(self.stages, 0.0)
        for node in self.outermost:
            if node.stage in times:
                times[node.stage] += node.total.time_ms
        return self._bars("stage", times)

    @property
    def by_family(self) -> Markup:
        """The class's time by operator family, children included, as bars."""
        families = sorted(self.total.families.items(), key=lambda f: -f[1].device_time_ms)
        times = {
            CATEGORIES[k].display_name: f.device_time_ms for k, f in families if f.device_time_ms
        }
        return self._bars("operator family", times)

    def _bars(self, what: str, times: dict[str, float]) -> Markup:
        title = f"Predicted time of {self.class_name} by {what}"
        return bars(title, times, units.milliseconds)

    @property
    def parents(self) -> list[str]:
        """Classes that call this one."""
        return sorted({self._caller(node) for node in self.nodes} - {""})

    @property
    def children(self) -> list[str]:
        """Classes that this one calls."""
        nodes = (n for names in self.analysis.classes.values() for n in names)
        return sorted({n.class_name for n in nodes if self._caller(n) == self.class_name})

    def _caller(self, node: Node) -> str:
        """Return the class that calls a node, or nothing; groups of passes are skipped."""
        classes = (above.class_name for above in self._ancestors(node))
        return next((name for name in classes if name != "Group"), "")

    def _ancestors(self, node: Node) -> Iterator[Node]:
        """Yield the nodes that contain a node, the innermost first."""
        while (parent := self.analysis.nodes.get(node.visit.parent_id or "")) is not None:
            yield parent
            node = parent

    @cached_property
    def code(self) -> list[Source]:
        """The source of each form's class, and of those from which it has its formulas."""
        classes = dict.fromkeys(type(node.visit.layer) for node in self.nodes)
        every = dict.fromkeys((*classes, *(base for cls in classes for base in cls.__mro__)))
        written = (cls for cls in every if not vars(cls).get("is_renamed"))
        return [source_of(cls) for cls in written if cls not in BaseLayer.__mro__]


def layer_pages(analysis: Analysis) -> dict[str, LayerPage]:
    """Return the page of each module class; the same objects as long as the inputs are the same."""
    # What a trace or a measurement adds changes no layer's page.
    return _layer_pages(dataclasses.replace(analysis, traced=None, measurement=None))


@lru_cache(maxsize=2)
def _layer_pages(analysis: Analysis) -> dict[str, LayerPage]:
    return {name: LayerPage(analysis, name) for name in sorted(analysis.classes)}


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _shape(node: Node) -> Markup:
    """Return the values of a node's dimensions; ``first … last`` where they grow."""
    parts = []
    for name, dimension in node.visit.layer.dimensions().items():
        first, last = (getattr(x, name) for x in (node.visit.layer, node.visit.last))
        value = notation.number(first)
        if first != last:
            value += f" … {notation.number(last)}"
        parts.append(notation.assignment(dimension.symbol, value))
    return Markup(", ").join(parts)
