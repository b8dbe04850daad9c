"""Finds models: installed packages name them as entry points, this one too."""

from __future__ import annotations

from functools import lru_cache
from importlib import metadata
from pathlib import Path

from mkdocs_dsocr.inputs import InputError, ModelConfig
from mkdocs_dsocr.inputs.checkpoint import check_complete, read_checkpoint
from mkdocs_dsocr.inputs.errors import repr_short
from mkdocs_dsocr.inputs.files import read_mapping
from mkdocs_dsocr.inputs.references import resolve
from mkdocs_dsocr.models.door import GROUP, Model


@lru_cache(maxsize=1)
def known_models() -> dict[str, Model]:
    """Return every model that is installed, by its architecture.

    Raises
    ------
    InputError
        If an entry point does not load, is no model, or two share an architecture or an alias.
    """
    result: dict[str, Model] = {}
    names: dict[str, Model] = {}
    for point in sorted(metadata.entry_points(group=GROUP), key=lambda p: (p.name, p.value)):
        place = f"entry point {GROUP}"
        try:
            model = point.load()
        except Exception as error:  # code of others may raise whatever it likes
            found = f"{point.value}, which raised {type(error).__name__}: {error}"
            raise InputError(place, point.name, found, "an object that can be imported") from error
        if not isinstance(model, Model):
            allowed = "an instance of mkdocs_dsocr.models.Model"
            raise InputError(place, point.name, repr_short(model), allowed)
        for name in (model.architecture, *model.aliases):
            if names.setdefault(name, model) is not model:
                found = f"{name}, a name of {names[name].title}"
                raise InputError(place, point.name, found, "names that no other model has")
        result[model.architecture] = model
    return result


def model_of(config: ModelConfig) -> Model:
    """Return the model whose dimensions these are."""
    return known_models()[config.architecture]


def load_model_config(
    value: str, base: Path | None = None, source: str = "option", key: str | None = None
) -> ModelConfig:
    """Load the dimensions of a model by id or from a folder with ``config.json``.

    `source` and `key` say where the id or path was read, for messages.

    Raises
    ------
    InputError
        If there is no such model, the file is not valid, or it describes an
        architecture that no installed model knows.
    """
    path = resolve("models", value, base, source, key)
    path = path if path.suffix == ".json" else path / "config.json"
    check_complete(path.parent)
    content = read_mapping(path)
    found = content.get("architectures")
    known = {n: m for m in known_models().values() for n in (m.architecture, *m.aliases)}
    names = found if isinstance(found, list) else []
    model = next((known[name] for name in names if isinstance(name, str) and name in known), None)
    if model is None:
        allowed = " or ".join(f"[{name!r}]" for name in sorted(known))
        raise InputError(path, "architectures", repr_short(found), allowed)
    config, checkpoint = model.parse(path, content), read_checkpoint(path)
    note = checkpoint.note if checkpoint else ""
    return config.model_copy(update={"notes": (*config.notes, note)}) if note else config
