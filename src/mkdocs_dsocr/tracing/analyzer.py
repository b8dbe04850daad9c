"""The static analysis: the model's modules, and what PyTorch counts in each pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mkdocs_dsocr.inputs import ModelConfig
from mkdocs_dsocr.trace import ModuleRecord, PassRecord, PassShape, Trace
from mkdocs_dsocr.tracing.elementwise import ElementwiseCounter
from mkdocs_dsocr.tracing.session import DeepSeekOCRSession


class DeepseekOCRStaticAnalyzer:
    """Traces the reference model: parameters, classes, FLOPs of every module in every pass.

    Parameters
    ----------
    config
        Dimensions of the model.
    device
        ``meta`` or ``cuda``.
    """

    def __init__(self, config: ModelConfig, device: str = "meta") -> None:
        self.session = DeepSeekOCRSession(config, device)

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
        )

    def modules(self) -> Iterable[ModuleRecord]:
        """Yield a record of every module."""
        for path, module in self.session.model.named_modules():
            yield ModuleRecord(
                path,
                type(module).__name__,
                f"{type(module).__module__}.{type(module).__qualname__}",
                {n: tuple(p.shape) for n, p in module.named_parameters(recurse=False)},
            )

    def count(self, shape: PassShape) -> PassRecord:
        """Count one run of a pass with PyTorch's own counter."""
        counter = FlopCounterMode(display=False)
        # On the CPU the counter knows no fused attention; the math kernel is made of products.
        kernels = [SDPBackend.MATH] if self.session.device == "cpu" else list(_ALL_KERNELS)
        elementwise = ElementwiseCounter()
        run = self.session.prepare(shape)
        with sdpa_kernel(kernels), counter, elementwise:
            cache = run()
        products = {name: sum(c.values()) for name, c in counter.get_flop_counts().items()}
        return PassRecord(
            shape=shape,
            matmul_flops=self._by_path(products),
            elementwise_flops=self._by_path(elementwise.flops),
            unknown_operators=tuple(sorted(elementwise.unknown)),
            kvcache_bytes=cache.nbytes,
        )

    def _by_path(self, flops: Mapping[str, int]) -> dict[str, int]:
        paths = {self._path(name): amount for name, amount in flops.items()}
        return {path: paths[path] for path in sorted(p for p in paths if p is not None)}

    def _path(self, name: str) -> str | None:
        """Return the module path of a counter's name, which starts at the class first called."""
        top, _, rest = name.partition(".")
        model = self.session.model
        starts = {
            type(model).__name__: "",
            type(model.model.sam_model).__name__: "model.sam_model",
            type(model.model.vision_model).__name__: "model.vision_model",
            type(model.model.projector).__name__: "model.projector",
        }
        if top not in starts:
            return None
        return ".".join(p for p in (starts[top], rest) if p)


_ALL_KERNELS = (
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.MATH,
)
