"""The options of the plugin and the commands, and their defaults."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mkdocs_dsocr.io import Cache, default_cache
from mkdocs_dsocr.resources import DEFAULT_HARDWARE, DEFAULT_MODEL, DEFAULT_WORKLOAD, DEVICES

TRACES: Final = ("ship", "cached", "verify")
"""Which traces are used: one that ships or is cached, a cached one, or a new one always."""


@dataclass(frozen=True)
class Settings:
    """What is analysed. The first workload and the first GPU are the main ones.

    Parameters
    ----------
    model, workloads, hardware
        Ids of what is shipped, or paths.
    device
        One of :data:`mkdocs_dsocr.resources.DEVICES`; ``auto`` takes a GPU that has room, else
        ``meta``.
    trace
        One of :data:`TRACES`.
    measurements
        Files that ``dsocr measure`` wrote, or folders of them.
    trust_remote_code
        Whether the checkpoint's own Python files are run and traced too.
    reviews
        The file of reviews; empty for none.
    require_review
        Whether a missing or outdated review is a failure.
    baseline
        An earlier ``report.json``; empty for none.
    compared_models
        Further models, compared with `model` on the main workload and GPU.
    cache
        Whether traces, tables and pages are kept between builds.
    base
        Folder that paths are relative to.
    """

    model: str = DEFAULT_MODEL
    workloads: tuple[str, ...] = (DEFAULT_WORKLOAD,)
    hardware: tuple[str, ...] = (DEFAULT_HARDWARE,)
    device: str = DEVICES[0]
    measurements: tuple[str, ...] = ()
    trust_remote_code: bool = False
    reviews: str = ""
    require_review: bool = False
    baseline: str = ""
    compared_models: tuple[str, ...] = ()
    cache: bool = True
    trace: str = TRACES[0]
    base: Path = Path()

    def to_json(self) -> dict[str, Any]:
        """Return what another process reads with :meth:`from_json`."""
        return {**dataclasses.asdict(self), "base": str(self.base)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Settings:
        """Return the settings that :meth:`to_json` wrote."""
        fields: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in data.items()
        }
        fields["base"] = Path(data["base"])
        return cls(**fields)

    @property
    def store(self) -> Cache | None:
        """The cache between builds, None where it is switched off."""
        return default_cache() if self.cache else None

    @property
    def traces(self) -> Cache | None:
        """The cache of traces, None where each build makes its own."""
        return self.store if self.trace != "verify" else None

    def files(self) -> list[Path]:
        """Return the input files, for a server that watches them."""
        from mkdocs_dsocr.inputs.checkpoint import files_beside
        from mkdocs_dsocr.inputs.references import resolve

        models = [
            resolve("models", self.model, self.base),
            *(resolve("models", m, self.base, key="compared_models") for m in self.compared_models),
        ]
        configs = [m if m.suffix == ".json" else m / "config.json" for m in models]
        return [
            *(path for config in configs for path in (config, *files_beside(config))),
            *(sorted(configs[0].parent.glob("*.py")) if self.trust_remote_code else ()),
            *(resolve("workloads", w, self.base, key="workloads") for w in self.workloads),
            *(resolve("hardware", h, self.base) for h in self.hardware),
            *(self.base / m for m in self.measurements),
            *(self.base / file for file in (self.reviews, self.baseline) if file),
        ]


@dataclass(frozen=True)
class MeasureOptions:
    """How a device is measured.

    Parameters
    ----------
    device
        ``cuda`` or ``cpu``.
    cuda_graph
        Whether decode steps are replayed from a CUDA graph.
    largest_batch
        Whether the largest batch that the GPU holds is looked for.
    repeats
        Timed calls of each pass and module.
    """

    device: str = "cuda"
    cuda_graph: bool = False
    largest_batch: bool = False
    repeats: int = 20
