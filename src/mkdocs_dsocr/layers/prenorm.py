"""The transformer block that all towers and decoders share: a norm before each branch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from mkdocs_dsocr.layers.layer import Child, Layer, Step
from mkdocs_dsocr.layers.operations import Pattern, Tensor, residual
from mkdocs_dsocr.quantities import Quantity


def pre_norm(
    elements: Quantity,
    norm: Layer,
    attend: Callable[[Tensor, Tensor], Iterable[Step]],
    mlp: Layer,
    *,
    norms: tuple[str, str],
    written: tuple[str, str] = ("norm1", "norm2"),
    added: Pattern = "contiguous",
) -> Iterator[Step]:
    """Yield attention and MLP, each on its norm and added to the residual stream.

    Parameters
    ----------
    elements
        Elements of the residual stream.
    norm, mlp
        The layers; both norms are alike.
    attend
        The steps of the attention, from the norm's output to its own.
    norms, written
        The module names of the two norms, and how formulas write them.
    added
        How the threads of the two additions walk their operands.
    """
    first, second = written
    names = ("x", f"{first}(x)", f"attn({first}(x))", "y", f"{second}(y)", f"mlp({second}(y))", "z")
    x, normed, attended, y, normed_y, mapped, z = (Tensor(n, elements) for n in names)
    yield Child(norms[0], norm, reads=(x,), writes=(normed,))
    yield from attend(normed, attended)
    yield residual(x, attended, y, f"x + {attended.name}", added)
    yield Child(norms[1], norm, reads=(y,), writes=(normed_y,))
    yield Child("mlp", mlp, reads=(normed_y,), writes=(mapped,))
    yield residual(y, mapped, z, f"y + {mapped.name}", added)
