"""A model on a device, and inputs for each of its passes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any, ClassVar, Final
from unittest.mock import patch

import torch
from torch import Tensor

from mkdocs_dsocr.inputs import InputError, ModelConfig, constants
from mkdocs_dsocr.inputs.errors import repr_short
from mkdocs_dsocr.models import Plan, model_of
from mkdocs_dsocr.resources import DEVICES
from mkdocs_dsocr.trace import PassShape
from mkdocs_dsocr.tracing.kv_cache import KVCache
from mkdocs_dsocr.tracing.memory import ActivationMemory

ACTIVATION_RESERVE: Final = 4 * 10**9
"""Free bytes, besides those for the weights, that ``auto`` requires on the GPU."""


@dataclass(frozen=True)
class Device:
    """A resolved device, and the reason for it in words."""

    name: str
    reason: str


def resolve_device(requested: str, weight_bytes: int) -> Device:
    """Return the device that `requested` stands for.

    Raises
    ------
    InputError
        If the name is unknown, or ``cuda`` is asked for where there is none.
    """
    if requested not in DEVICES:
        raise InputError("option", "device", repr_short(requested), ", ".join(DEVICES))
    if requested == "meta":
        return Device("meta", "meta, as asked for")
    if not torch.cuda.is_available():
        if requested == "cuda":
            raise InputError("option", "device", "cuda", "auto or meta: torch sees no CUDA device")
        return Device("meta", "meta: torch sees no CUDA device")
    name = torch.cuda.get_device_name()
    free, _ = torch.cuda.mem_get_info()
    needed = weight_bytes + ACTIVATION_RESERVE
    if requested == "auto" and free < needed:
        return Device(
            "meta", f"meta: {name} has {free / 1e9:.1f} GB free of {needed / 1e9:.1f} GB needed"
        )
    return Device("cuda", f"cuda: {name}")


class Session(ABC):
    """The modules of a model, built without weights, ready to run any pass.

    Attributes
    ----------
    config, device
        Dimensions of the model, and where it is.
    model
        The whole model; all of it except the LM head is its attribute ``model``.
    asked
        Values that the last run asked for and ``meta`` does not have.
    roots
        Paths of the modules that passes call by themselves.
    stages
        Module paths of the stages that torchinfo's figures are summed over.
    replays
        Whether equal calls may be counted once. If so, a module in a list tells apart its place
        only by its attribute ``layer``, and caches have the type :class:`KVCache`.
    """

    config: ModelConfig
    device: str
    model: Any
    asked: int = 0
    roots: ClassVar[tuple[str, ...]] = ()
    stages: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    replays: ClassVar[bool] = False

    @abstractmethod
    def prepare(
        self, shape: PassShape, memory: ActivationMemory | None = None, *, once: bool = False
    ) -> Callable[[], int]:
        """Make inputs for a pass, and return a function that runs it on them, many times if needed.

        Each call returns the bytes of the KV cache after the pass; 0 where it has none.

        Parameters
        ----------
        shape
            What the pass is fed.
        memory
            Told which tensors are KV cache.
        once
            Allow one call only. It frees the earlier keys and values while it replaces them, as a
            server does, so that its peak memory is a server's.
        """

    @abstractmethod
    def page_inputs(self, plan: Plan) -> tuple[list[Tensor], dict[str, Any]]:
        """Return the arguments of a forward of a workload's first page, from pixels on."""

    @abstractmethod
    def step_inputs(self, plan: Plan) -> tuple[list[Tensor], dict[str, Any]]:
        """Return the arguments of the first decode step after it."""

    def own_cache(self, value: Any) -> Any:
        """Return a copy of a cache that grows independently; anything else as it is."""
        return value.copy() if isinstance(value, KVCache) else value

    def answering(self) -> AbstractContextManager[object]:
        """Return a context that supplies the values that a model asks for and ``meta`` lacks."""
        return nullcontext()

    def fixed_routing(self, run: Callable[[], object]) -> AbstractContextManager[object]:
        """Return a context in which the routing is that of one call of `run`.

        A CUDA graph can capture a pass in it. A model must override this method only if its host
        waits for the routing.
        """
        return nullcontext()

    def run(self, shape: PassShape) -> int:
        """Run one pass, and return the bytes of the KV cache after it."""
        return self.prepare(shape)()

    def views(self, count: int, size: int) -> Tensor:
        """Return pixels ``[count, 3, size, size]``."""
        return self.values(count, constants.IMAGE_CHANNELS, size, size)

    def token_ids(self, batch: int, length: int) -> Tensor:
        """Return token ids ``[batch, length]``."""
        words = self.config.language.vocab_size
        return torch.randint(words, (batch, length), device=self.device)

    def values(self, *shape: int) -> Tensor:
        """Return bfloat16 values of some shape."""
        return torch.randn(shape, dtype=torch.bfloat16, device=self.device)


def build_session(config: ModelConfig, device: str) -> Session:
    """Build the modules of the model whose dimensions these are.

    Raises
    ------
    InputError
        If the model names no session that can be imported.
    """
    model = model_of(config)
    try:
        make: Callable[[ModelConfig, str], Session] = resolve_name(model.session)
    except (ImportError, AttributeError, ValueError) as error:
        place = f"model {model.architecture}"
        raise InputError(
            place, "session", repr_short(model.session), f"a class: {error}"
        ) from error
    return make(config, device)


@contextmanager
def building(device: str) -> Iterator[None]:
    """Make modules in bfloat16 on a device meanwhile; on ``meta`` no values are drawn."""
    with ExitStack() as stack:
        for context in (default_dtype(torch.bfloat16), torch.device(device), torch.no_grad()):
            stack.enter_context(context)
        if device == "meta":
            for name in ("normal_", "uniform_"):
                stack.enter_context(patch.object(Tensor, name, lambda values, *_, **__: values))
        yield


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make new parameters and tensors of this dtype meanwhile."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
