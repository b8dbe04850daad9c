"""A model's ``config.json`` that remembers which of its keys were used.

A key is used, refused by name, or reported as not used. Nothing is ignored silently.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from mkdocs_dsocr.inputs.errors import InputError, repr_short
from mkdocs_dsocr.inputs.files import validate

IDENTITY: Final = frozenset(
    ("_name_or_path", "architectures", "auto_map", "model_type", "transformers_version")
)
"""Keys that name a section: a section and the section inside it have their own."""
WITHOUT_EFFECT: Final = IDENTITY | frozenset(
    (
        *("bos_token_id", "eos_token_id", "pad_token_id", "image_token_id", "image_token_index"),
        *("id2label", "label2id"),
        *("initializer_range", "initializer_factor", "attention_dropout", "aux_loss_alpha"),
        *("seq_aux", "use_cache", "output_attentions", "output_hidden_states", "return_dict"),
        *("output_router_logits", "is_encoder_decoder", "problem_type", "chunk_size_feed_forward"),
        *("candidate_resolutions", "model_name", "mlp_ratio", "_commit_hash", "ignore_keys"),
        *("kv_lora_rank", "q_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"),
    )
)
"""Keys that the supported models do not read in a forward pass: names, token ids, training, and
the sizes of multi-head latent attention, which they have not. They are not warned about."""

Section = TypeVar("Section", bound=BaseModel)
Fixed = Mapping[str, tuple[Any, ...]]
"""Keys that would change the computation, each with the values that the formulas stand for.

The first one is what the model has; None stands for a key that is absent.
"""


class ConfigFile:
    """A ``config.json``, and which of its keys were used.

    Parameters
    ----------
    path, content
        Where it was read, and what it says.
    """

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        self.path, self.content = path, content
        self._used: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        """Return what stands under a dotted key, which is used from now on."""
        found: Any = self.content
        for name in _names(key):
            if not isinstance(found, dict) or name not in found:
                return default
            found = found[name]
        self._used.add(key)
        return found

    def refuse(self, key: str, allowed: str) -> InputError:
        """Return the error for what stands under a key."""
        return InputError(self.path, key, repr_short(self.get(key)), allowed)

    def section(self, key: str) -> dict[str, Any]:
        """Return the mapping under a key; an empty one where there is none.

        Raises
        ------
        InputError
            If something else stands there.
        """
        found = self.get(key, {})
        if not isinstance(found, dict):
            raise self.refuse(key, "a mapping")
        self._used.discard(key)  # its own keys are used one by one
        return found

    def merged(self, key: str) -> dict[str, Any]:
        """Return the keys of a section together with those at the top level.

        Raises
        ------
        InputError
            If both have a key, with different values.
        """
        nested = self.section(key)
        for name in sorted(nested.keys() & self.content.keys() - IDENTITY):
            if nested[name] != self.content[name]:
                found = f"{repr_short(nested[name])}, but {name} = {repr_short(self.content[name])}"
                allowed = "the same value in both places"
                raise InputError(self.path, f"{key}.{name}", f"{found} at the top level", allowed)
        return {**nested, **self.content}

    def check(self, section: str, fixed: Fixed, architecture: str, merged: bool = False) -> None:
        """Refuse other values than the formulas stand for.

        Parameters
        ----------
        section
            The dotted key of the section, empty for the top level.
        fixed
            Its keys with their values.
        architecture
            Whose values they are, for messages.
        merged
            Whether the keys may also stand at the top level.

        Raises
        ------
        InputError
            For the first key that has another value.
        """
        for name, allowed in fixed.items():
            places = [f"{section}.{name}" if section else name, *([name] if merged else ())]
            values = [(place, self.get(place)) for place in places if self.has(place)]
            for place, value in values or [(places[-1], None)]:
                if not any(_is_same(value, one) for one in allowed):
                    told = f"{allowed[0]!r}, as {architecture} has it"
                    raise self.refuse(place, told)

    def has(self, key: str) -> bool:
        """Tell whether there is a dotted key."""
        return self.get(key, ...) is not ...

    def validated(
        self, model: type[Section], content: Mapping[str, Any], places: Iterable[str]
    ) -> Section:
        """Return a section as `model`; the keys that it knows are used.

        Parameters
        ----------
        model, content
            What the section has to say, and what it says.
        places
            The dotted keys of the mappings that `content` is made of, empty for the top level.

        Raises
        ------
        InputError
            If a key is missing or has a value that is not allowed.
        """
        prefixes = list(places)
        for prefix, key in itertools.product(prefixes, _fields(model)):
            self.get(f"{prefix}.{key}" if prefix else key)
        try:
            return validate(model, dict(content), self.path)
        except InputError as error:
            key = ".".join(k for k in (prefixes[0], error.key) if k)
            raise InputError(self.path, key, error.found, error.allowed) from error

    @property
    def unused(self) -> tuple[str, ...]:
        """The dotted keys that nothing used."""
        return tuple(k for k in _leaves(self.content) if not self._is_used(k))

    def _is_used(self, key: str) -> bool:
        names = _names(key)
        return any(".".join(names[:end]) in self._used for end in range(1, len(names) + 1))


def unexpected(keys: Iterable[str]) -> tuple[str, ...]:
    """Return the keys that a reader should know of: all but those :data:`WITHOUT_EFFECT`."""
    return tuple(k for k in keys if WITHOUT_EFFECT.isdisjoint(_names(k)))


def _fields(model: type[BaseModel]) -> Iterator[str]:
    """Yield the dotted keys that a section knows."""
    for name, field in model.model_fields.items():
        key, kind = field.alias or name, field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from (f"{key}.{inner}" for inner in _fields(kind))
        else:
            yield key


def _names(key: str) -> list[str]:
    return key.split(".")


def _leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in content.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _is_same(value: Any, allowed: Any) -> bool:
    """Tell whether a value is the allowed one; 1 is not true."""
    return bool(value == allowed) and isinstance(value, bool) == isinstance(allowed, bool)
