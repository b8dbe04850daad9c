"""What a workload must not ask of a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mkdocs_dsocr.inputs import InputError, ModelConfig, Workload
from mkdocs_dsocr.inputs.workload import VIEW
from mkdocs_dsocr.models.registry import model_of

SIDES: Final = ("base_size", "image_size")
"""The keys of a workload that state sides of views."""


def check_autocast(config: ModelConfig, source: str | Path) -> None:
    """Refuse ``precision_mode: autocast`` for a model whose layers do not know it.

    Raises
    ------
    InputError
        If this is one.
    """
    model = model_of(config)
    if not model.has_autocast:
        allowed = f"module: {model.title} is not modelled under autocast"
        raise InputError(source, "precision_mode", "autocast", allowed)


def check_pages(config: ModelConfig, pages_per_prompt: Any, source: str | Path) -> None:
    """Refuse prompts of several pages for a model that reads one.

    Parameters
    ----------
    config, source
        The model, and where the workload was read.
    pages_per_prompt
        An integer or an array.

    Raises
    ------
    InputError
        If there are any.
    """
    model = model_of(config)
    if model.reads_many_pages:
        return
    most = pages_per_prompt if isinstance(pages_per_prompt, int) else int(pages_per_prompt.max())
    if most > 1:
        allowed = f"1: {model.title} reads one page per prompt"
        raise InputError(source, "pages_per_prompt", f"{most:,}", allowed)


def check_sides(config: ModelConfig, sides: Mapping[str, Any], source: str | Path) -> None:
    """Refuse views of other sides than a model reads.

    Parameters
    ----------
    config
        The model.
    sides
        Of :data:`SIDES`, px: integers or arrays; None where there are no views.
    source
        Where they were read.

    Raises
    ------
    InputError
        If there is one of another side.
    """
    model = model_of(config)
    limit = model.sides(config)
    for name in SIDES if limit != VIEW else ():
        given = sides[name]
        each = [given] if given is None or isinstance(given, int) else given.tolist()
        for side in sorted({*each} - {None}):
            if not limit.allows(side):
                raise InputError(source, name, f"{side:,}", f"{limit} for {model.title}")


def check_bfloat16(dtype: str, source: str | Path) -> None:
    """Refuse activations that ``torch.autocast`` to bfloat16 does not have."""
    if dtype != "bf16":
        raise InputError(source, "activation_dtype", dtype, "bf16 with precision_mode: autocast")


def check_text(text_tokens: Any, source: str | Path) -> None:
    """Refuse prompts without an image that have no text either.

    Parameters
    ----------
    text_tokens
        Of prompts without an image: an integer or an array.
    source
        Where they were read.

    Raises
    ------
    InputError
        If there are any.
    """
    least = text_tokens if isinstance(text_tokens, int) else int(text_tokens.min(initial=1))
    if least == 0:
        allowed = "at least 1: a prompt without an image has text"
        raise InputError(source, "text_tokens", "0", allowed)


def check_load(config: ModelConfig, workload: Workload, source: str | Path) -> None:
    """Refuse a load of the experts that no routing makes."""
    load, language = workload.expert_load, config.language
    if load is None:
        return
    if not language.has_experts:
        raise InputError(source, "expert_load", f"{len(load)} numbers", "none: it has no experts")
    if len(load) != language.n_routed_experts:
        allowed = f"one for each of the {language.n_routed_experts} routed experts"
        raise InputError(source, "expert_load", f"{len(load)} numbers", allowed)
    largest = max(load) / sum(load) * language.num_experts_per_tok
    if largest > 1:
        allowed = f"at most 1/{language.num_experts_per_tok} of the sum: a token chooses it once"
        raise InputError(source, "expert_load", f"{max(load):g} of {sum(load):g}", allowed)
