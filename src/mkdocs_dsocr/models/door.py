"""What a model is to the project: the object behind an entry point ``mkdocs_dsocr.models``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple

from mkdocs_dsocr.inputs import ModelConfig
from mkdocs_dsocr.inputs.constants import MAX_RULE_TILES, MIN_TILES, TILE_SIZE
from mkdocs_dsocr.inputs.fields import Limit
from mkdocs_dsocr.inputs.workload import VIEW
from mkdocs_dsocr.layers.layer import Child
from mkdocs_dsocr.layers.modelmeter import BaseLayer
from mkdocs_dsocr.models.batch import Batch, BatchPass, Sizes
from mkdocs_dsocr.models.tokens import ROWS, Layout, crop_grid
from mkdocs_dsocr.quantities import Quantity
from mkdocs_dsocr.trace import PassShape

Choices = Mapping[str, Any]
"""Conditions by name: 1 or 0, or an array or a symbol that is."""

GROUP: Final = "mkdocs_dsocr.models"
"""The group of entry points."""
STAGES: Final = ("vision", "projector", "prefill", "decode")
"""What every model runs, one after another."""


class Load(NamedTuple):
    """How the tokens of a pass spread over the experts of a layer."""

    distinct: Quantity
    """Experts that get any token."""
    largest: Quantity
    """Tokens of the one that gets most."""


class Model(ABC):
    """A model architecture: all that the project knows of it.

    Attributes
    ----------
    architecture
        Its name under ``architectures`` in config.json.
    aliases
        Other names that a config.json may have there.
    title
        Its name in headings.
    vision
        What its vision backbone is, in a sentence.
    traced
        What the modules are that a trace runs, in a sentence.
    max_tiles
        The most local views that its processor cuts a page into.
    min_tiles
        The fewest of a grid of its rule.
    tile_size
        Side of the local views that its grid rule speaks for, px.
    cuts_small_pages
        Whether its grid rule also cuts a page that fits one local view.
    layout
        How many tokens its views make.
    tower
        The dimensions of its tower behind SAM: ``clip``, ``encoder``, or None without one.
    session
        ``package.module:Class`` of the :class:`mkdocs_dsocr.tracing.Session` that builds and runs
        its PyTorch modules: a name, as torch is imported for a trace alone.
    packages
        Distributions, beside torch, that its modules come from: a trace depends on their releases.
    reads_many_pages
        Whether one prompt may have several pages.
    has_autocast
        Whether its layers say what ``torch.autocast`` makes of them.
    runs_remote_code
        Whether a checkpoint's own code can be traced beside `session`'s modules.
    """

    architecture: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    title: ClassVar[str]
    vision: ClassVar[str]
    traced: ClassVar[str]
    session: ClassVar[str]
    max_tiles: ClassVar[int] = MAX_RULE_TILES
    min_tiles: ClassVar[int] = MIN_TILES
    tile_size: ClassVar[int] = TILE_SIZE
    cuts_small_pages: ClassVar[bool] = False
    layout: ClassVar[Layout] = ROWS
    tower: ClassVar[str | None] = "clip"
    packages: ClassVar[tuple[str, ...]] = ()
    reads_many_pages: ClassVar[bool] = False
    has_autocast: ClassVar[bool] = False
    runs_remote_code: ClassVar[bool] = False

    @abstractmethod
    def parse(self, path: Path, content: Mapping[str, Any]) -> ModelConfig:
        """Return the dimensions that a config.json states.

        Parameters
        ----------
        path, content
            Where it was read, and what it says.

        Raises
        ------
        InputError
            If it is not valid.
        """

    def grid(
        self, width: Any, height: Any, max_tiles: Any, most: int | None = None
    ) -> tuple[Any, Any]:
        """Return the local views per row and per column that its processor cuts a page into.

        Parameters
        ----------
        width, height, max_tiles, most
            As for :func:`mkdocs_dsocr.models.tokens.crop_grid`.
        """
        return crop_grid(
            width,
            height,
            max_tiles,
            most,
            self.tile_size,
            self.min_tiles,
            cuts_small_pages=self.cuts_small_pages,
        )

    def sides(self, config: ModelConfig) -> Limit:
        """Return the sides of views that it reads, px."""
        return VIEW

    @abstractmethod
    def passes(self, config: ModelConfig, batch: Batch) -> Iterable[BatchPass]:
        """List the passes of a batch of pages, in the order of :data:`STAGES`.

        Parameters
        ----------
        config
            The model's dimensions.
        batch
            The pages: integers, arrays or symbols. The passes are the same ones for all.
        """

    @abstractmethod
    def choices(self, config: ModelConfig, pass_id: str, sizes: Sizes) -> Choices:
        """Return the conditions that decide which formulas a pass has.

        They are evaluated wherever the formulas are: :meth:`modules` is given their values and
        must not ask the sizes itself.

        Parameters
        ----------
        config, pass_id
            The model's dimensions, and the pass.
        sizes
            What it is fed: integers, arrays or symbols.
        """

    def notes(self, batch: Batch) -> Iterable[str]:
        """Return what a reader must know of views that the model's own processor does not make."""
        return ()

    def window(self, config: ModelConfig) -> int:
        """Return how many new tokens a decode step sees at most; 0 where it sees them all."""
        return 0

    @abstractmethod
    def modules(
        self, config: ModelConfig, shape: PassShape, load: Load, chosen: Choices
    ) -> Iterator[Child]:
        """Yield the modules that one run of a pass calls, as analytic layers.

        Parameters
        ----------
        config, shape
            The model's dimensions, and what the pass is fed.
        load
            The load of the experts.
        chosen
            The conditions of :meth:`choices` (padded windows, a resized table), each true or false.
        """

    @abstractmethod
    def whole(self, items: tuple[Child, ...]) -> BaseLayer:
        """Return the layer of the whole model, made of its stages."""

    @abstractmethod
    def traced_load(self, config: ModelConfig, matmul_flops: Mapping[str, int]) -> Load:
        """Return the load of the experts in a trace.

        Parameters
        ----------
        config
            The model's dimensions.
        matmul_flops
            What was counted, by path of the modules that were called.
        """
