"""The content of a site: its analyses, its results, and what several pages show of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from mkdocs_dsocr.inputs import Hardware, load_hardware, shipped
from mkdocs_dsocr.models import Model, model_of
from mkdocs_dsocr.report import Analysis
from mkdocs_dsocr.report.changes import Changes
from mkdocs_dsocr.report.models import ModelsCompared
from mkdocs_dsocr.site.layer_page import LayerPage, layer_pages
from mkdocs_dsocr.site.review import Reviewed
from mkdocs_dsocr.site.studies import Studies
from mkdocs_dsocr.verify.checkpoint import CheckpointVerdict
from mkdocs_dsocr.verify.vendor import VendorVerdict
from mkdocs_dsocr.verify.verdict import Verification


@dataclass(frozen=True)
class Site:
    """The content of a site.

    Attributes
    ----------
    analyses
        An analysis for each workload (outer) and GPU (inner); the first is the main one.
    verification
        The verdict of this build.
    device_reason
        Where the trace was made, in words.
    artifacts
        Path of each file under ``artifacts/``.
    studies
        The main analysis with one thing changed at a time; None if its figures exceed 64 bits.
    checkpoint
        Whether the checkpoint's tensors are the model's, if there is a checkpoint.
    vendor
        The comparison with the checkpoint's own modules, if the user trusts them.
    reviews
        Every layer and assumption with its review, by name, if there is a file of reviews.
    changes
        The changes since the baseline, if there is a baseline.
    models
        Other models compared with this one, if any are named.
    is_stale
        Whether trace and verification are of the inputs before an edit.
    is_shipped
        Whether the trace came with the package, and this build made none.
    shown
        Which of `analyses` the pages show: of which workload, and on which GPU. There are files of
        all modules for the first GPU of a workload, and of sweeps for the main analysis.
    has_switch
        Whether a reader can switch the pages to another workload or GPU.
    """

    analyses: tuple[tuple[Analysis, ...], ...]
    verification: Verification
    device_reason: str
    artifacts: tuple[str, ...]
    studies: Studies | None
    checkpoint: CheckpointVerdict | None = None
    vendor: VendorVerdict | None = None
    reviews: Mapping[str, Reviewed] = field(default_factory=dict)
    changes: Changes | None = None
    models: ModelsCompared | None = None
    is_stale: bool = False
    is_shipped: bool = False
    shown: tuple[int, int] = (0, 0)
    has_switch: bool = False

    @property
    def main(self) -> Analysis:
        """The analysis that all pages show unless they say otherwise."""
        workload, gpu = self.shown
        return self.analyses[workload][gpu]

    @property
    def model(self) -> Model:
        """The architecture that the site is about."""
        return model_of(self.main.config)

    @property
    def has_scenarios(self) -> bool:
        """Whether there is more than one workload or GPU."""
        return sum(map(len, self.analyses)) > 1

    @cached_property
    def layer_pages(self) -> dict[str, LayerPage]:
        """The page of each module class, by its name."""
        return layer_pages(self.main)

    @cached_property
    def gpus(self) -> list[Hardware]:
        """The GPUs of the site, then every other profile that ships."""
        return all_gpus(self.analyses)


def all_gpus(analyses: tuple[tuple[Analysis, ...], ...]) -> list[Hardware]:
    """Return the GPUs of a site, then every other profile that ships, the smallest first."""
    own = [a.hardware for a in analyses[0]]
    ids = {gpu.hardware_id for gpu in own}
    others = [load_hardware(i) for i in shipped("hardware") if i not in ids]
    return [*own, *sorted(others, key=lambda h: (h.memory_bytes, h.hardware_id))]
