"""The static analysis: the model's modules, and what PyTorch counts in each pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from typing import TypeVar

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mkdocs_dsocr.inputs import ModelConfig
from mkdocs_dsocr.models import model_of
from mkdocs_dsocr.trace import ModuleRecord, PassRecord, PassShape, Trace, TracedPeak
from mkdocs_dsocr.tracing.autocast import autocast
from mkdocs_dsocr.tracing.counter import EVERYTHING, OperatorCounter
from mkdocs_dsocr.tracing.modules import Modules
from mkdocs_dsocr.tracing.operators import FURTHER_PRODUCTS
from mkdocs_dsocr.tracing.session import Session, build_session

T = TypeVar("T")


class StaticAnalyzer:
    """Traces a model's modules: parameters and classes; work, bytes and launches of each pass.

    Parameters
    ----------
    config
        Dimensions of the model.
    device
        ``meta`` or ``cuda``.
    replays
        Whether equal calls of a pass are run and counted once, where no values decide them.
    detailed
        Whether the operators of each class are told apart.
    session
        Other modules than the model's own, built already.
    """

    def __init__(
        self,
        config: ModelConfig,
        device: str = "meta",
        *,
        replays: bool = True,
        detailed: bool = False,
        session: Session | None = None,
    ) -> None:
        self.session = session or build_session(config, device)
        self.replays = replays and self.session.replays and device == "meta"
        self.detailed = detailed
        self._modules = Modules(self.session.model)
        self._products = FlopCounterMode(display=False, custom_mapping=FURTHER_PRODUCTS)

    def trace(
        self, shapes: Iterable[PassShape], progress: Callable[[str], None] = lambda _: None
    ) -> Trace:
        """Count every pass in `shapes`.

        Parameters
        ----------
        shapes
            What each pass is fed.
        progress
            Called with the id of each pass before it is counted.
        """
        passes = []
        for shape in shapes:
            progress(shape.pass_id)
            passes.append(self.count(shape))
        return Trace(
            device=self.session.device,
            torch_version=torch.__version__.split("+")[0],
            modules=tuple(self.modules()),
            passes=tuple(passes),
            packages={
                name: metadata.version(name) for name in model_of(self.session.config).packages
            },
        )

    def modules(self) -> Iterable[ModuleRecord]:
        """Yield a record of every module. What two modules share is a parameter of the first."""
        known: set[int] = set()
        for module, path in self._modules.paths.items():
            own = {
                name: parameter
                for name, parameter in module.named_parameters(recurse=False)
                if id(parameter) not in known
            }
            known.update(map(id, own.values()))
            yield ModuleRecord(
                path,
                type(module).__name__,
                f"{type(module).__module__}.{type(module).__qualname__}",
                {name: tuple(parameter.shape) for name, parameter in own.items()},
            )

    def count(self, shape: PassShape) -> PassRecord:
        """Count one run of a pass with PyTorch's own counter."""
        # On the CPU the counter knows no fused attention; the math kernel is made of products.
        kernels = [SDPBackend.MATH] if self.session.device == "cpu" else list(_ALL_KERNELS)
        operators = OperatorCounter(self._modules, replays=self.replays)
        run = self.session.prepare(shape, operators.memory)
        precision = autocast(self.session.device, enabled=shape.autocast)
        with precision, sdpa_kernel(kernels), self._products, operators.watching():
            kvcache_bytes = run()
        found = {name: sum(c.values()) for name, c in self._products.get_flop_counts().items()}
        products = {self._path(name): amount for name, amount in found.items()}
        if operators.replayer:
            operators.replayer.spread(products)
        return PassRecord(
            shape=shape,
            matmul_flops=_by_path(shape, products),
            elementwise_flops=_by_path(shape, operators.elementwise_flops),
            eager_bytes=_by_path(shape, operators.eager_bytes),
            dispatches=_by_path(shape, operators.dispatches),
            peaks=_by_path(shape, _named(operators.memory.peaks)),
            host_syncs=operators.host_syncs + self.session.asked,
            unknown_operators=tuple(sorted(operators.unknown)),
            kvcache_bytes=kvcache_bytes,
            operators=self._by_class(operators) if self.detailed else {},
        )

    def _by_class(self, operators: OperatorCounter) -> dict[str, dict[str, tuple[int, int]]]:
        """Return dispatches and bytes of each class's own code, by class and operator."""
        classes = {path: type(m).__name__ for m, path in self._modules.paths.items()}
        # Passes that call methods of the model run its code.
        classes[EVERYTHING] = type(self.session.model.model).__name__
        result: dict[str, dict[str, tuple[int, int]]] = {}
        for operator, (times, amounts) in sorted(operators.own.items()):
            for counts in (times, amounts):
                if operators.replayer:
                    operators.replayer.spread(counts, callers=False)
            for path, count in times.items():
                of_class = result.setdefault(classes[path], {})
                before = of_class.get(operator, (0, 0))
                of_class[operator] = (before[0] + count, before[1] + amounts[path])
        return dict(sorted(result.items()))

    def _path(self, name: str) -> str:
        """Return the module path of PyTorch's counter's name, which starts at a class."""
        top, _, rest = name.partition(".")
        model = self.session.model
        roots = ("", *self.session.roots)
        starts = {type(model.get_submodule(path)).__name__: path for path in roots}
        if top not in starts:
            return EVERYTHING
        return ".".join(p for p in (starts[top], rest) if p)


def _by_path(shape: PassShape, counts: Mapping[str, T]) -> dict[str, T]:
    """Return counts by module path, sorted, with what runs outside of a module's call."""
    paths = dict(counts)
    everything = paths.pop(EVERYTHING, None)
    if everything is not None and shape.part != "language":
        # These passes call methods of the model: what they do is under no module's name.
        paths["model"] = everything
    return dict(sorted(paths.items()))


def _named(peaks: Mapping[str, TracedPeak]) -> dict[str, TracedPeak]:
    """Return peaks that stand at the model where they stand outside of any module's call."""
    return {
        path: dataclasses.replace(peak, path="model") if peak.path == EVERYTHING else peak
        for path, peak in peaks.items()
    }


_ALL_KERNELS = (
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.MATH,
)
