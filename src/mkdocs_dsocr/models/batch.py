"""One batch of pages, pass by pass, whatever its sizes are: integers, arrays or symbols.

What a workload runs is written once and read three ways: as the plan of the report, as the
columns of a sweep, and as the program that a browser runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mkdocs_dsocr.models.tokens import ROWS, Layout
from mkdocs_dsocr.quantities import ceil_div, less, maximum, minimum, select
from mkdocs_dsocr.trace import Part

Sizes = Mapping[str, Any]
"""Fields of a :class:`mkdocs_dsocr.trace.PassShape`, by name."""


def rounds(prompts: Any, batch_size: Any) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Return the batches that `prompts` prompts are decoded in: integers or arrays.

    Returns
    -------
    Prompts of a full batch and how many of these there are, then prompts of the last, smaller one
    and whether there is one (1 or 0).
    """
    batch = minimum(batch_size, prompts)
    full, rest = prompts // batch, prompts % batch
    return (batch, full), (rest, less(0, rest))


def middle_of(steps: Any) -> Any:
    """Return the number of the middle one of some steps; the first of all steps is 1."""
    return 1 + ceil_div(maximum(steps - 2, 0), 2)


@dataclass(frozen=True)
class BatchPass:
    """A pass of one batch of pages.

    Attributes
    ----------
    name
        Tells it from the batch's other passes.
    pass_id, part, sizes
        What it is fed; of a loop, in its first step.
    calls
        How often it runs; 0 where it does not.
    steps, last
        Of a loop: its steps, and the sizes that are others in the last one, up to which they
        grow in a straight line.
    follows_batch
        Whether its pages or samples are as many as are decoded together.
    """

    name: str
    pass_id: str
    part: Part
    sizes: Sizes
    calls: Any
    steps: Any = 1
    last: Sizes = field(default_factory=dict)
    follows_batch: Any = 1

    @property
    def stage(self) -> str:
        """The stage that it belongs to."""
        return self.pass_id.partition(".")[0]


@dataclass(frozen=True)
class Batch:
    """Prompts that are decoded together. Conditions are 1 or 0.

    Attributes
    ----------
    prompts
        How many.
    is_batched
        Whether their pages are encoded at once.
    crop_mode, base_size, image_size, tiles_w, tiles_h
        Whether each is cut into local views; sides of the global and of a local view (the only
        one where it is not cut), and local views per row and per column (1 where it is not).
    text_tokens, max_new_tokens
        Tokens of a prompt beside its images', and of its answer.
    last_logits
        Whether the prefill gives logits of the last position alone.
    text_only
        Whether there are no images.
    layout
        How many tokens its views make.
    pages_per_prompt
        Pages that each prompt has.
    """

    prompts: Any
    is_batched: Any
    crop_mode: Any
    base_size: Any
    image_size: Any
    tiles_w: Any
    tiles_h: Any
    text_tokens: Any
    max_new_tokens: Any
    last_logits: Any
    text_only: Any = 0
    layout: Layout = ROWS
    pages_per_prompt: Any = 1

    @property
    def pages(self) -> Any:
        """Pages of all prompts."""
        return self.prompts * self.pages_per_prompt

    @cached_property
    def global_view(self) -> Any:
        """The side of the view of a whole page, px."""
        return select(self.crop_mode, self.base_size, self.image_size)

    @cached_property
    def has_tiles(self) -> Any:
        """Whether there are local views."""
        return self.has_image * self.crop_mode * less(1, self.tiles_w * self.tiles_h)

    @property
    def has_image(self) -> Any:
        """Whether there is a global view."""
        return 1 - self.text_only

    @cached_property
    def image_tokens(self) -> Any:
        """Image tokens of a prompt."""
        local = self.layout.of_local(self.image_size, self.tiles_w, self.tiles_h)
        found = self.layout.of_global(self.global_view) + select(self.has_tiles, local, 0)
        return select(self.has_image, self.pages_per_prompt * found, 0)

    @cached_property
    def seq_len(self) -> Any:
        """Tokens of a prompt."""
        return self.image_tokens + self.text_tokens

    @property
    def steps(self) -> Any:
        """Decode steps: the prefill yields the first new token."""
        return self.max_new_tokens - 1

    @property
    def middle(self) -> Any:
        """The number of the middle decode step, the first of which is 1."""
        return middle_of(self.steps)

    @property
    def encodings(self) -> Any:
        """How often pages are encoded."""
        return select(self.is_batched, 1, self.pages)

    def views(self, part: Part) -> Iterator[BatchPass]:
        """Yield a part that runs once for each kind of view."""
        pages = select(self.is_batched, self.pages, 1)
        whole = {"image_size": self.global_view, "tiles_w": 1, "tiles_h": 1}
        tiles = {
            "image_size": self.image_size,
            "tiles_w": self.tiles_w,
            "tiles_h": self.tiles_h,
        }
        for kind, view, is_there in (
            ("global", whole, self.has_image),
            ("local", tiles, self.has_tiles),
        ):
            yield BatchPass(
                f"{part}_{kind}",
                f"{part}.{kind}",
                part,
                {**view, "pages": pages},
                calls=is_there * self.encodings,
                follows_batch=self.is_batched,
            )

    def language(self, window: int = 0) -> Iterator[BatchPass]:
        """Yield prefill and decode.

        Parameters
        ----------
        window
            New tokens that a step sees at most, beside the prompt: then its context grows up to
            them and stays. All of them where it is 0.
        """
        prefill = {
            "batch": self.prompts,
            "q_len": self.seq_len,
            "kv_len": self.seq_len,
            "image_tokens": self.image_tokens,
            "logits": select(self.last_logits, 1, self.seq_len),
        }
        yield BatchPass("prefill", "prefill", "language", prefill, calls=1)
        grows = select(less(window, self.steps), window, self.steps) if window else self.steps
        yield self.loop("decode", 1, grows, window)
        if window:
            yield self.loop("decode_sliding", window + 1, self.steps, window)

    def loop(self, name: str, first: Any, last: Any, window: int) -> BatchPass:
        """Return the decode steps from one to another; step 1 is the first.

        Parameters
        ----------
        name, first, last
            What they are called, and which they are: none where `last` is below `first`.
        window
            As for :meth:`language`.
        """
        start, end = self._step(first, window), self._step(last, window)
        return BatchPass(
            name,
            "decode",
            "language",
            {"batch": self.prompts, "q_len": 1, "image_tokens": 0, "logits": 1, **start},
            calls=less(first - 1, last),
            steps=last - first + 1,
            last=end,
        )

    def _step(self, number: Any, window: int) -> dict[str, Any]:
        """Return the context of a decode step."""
        if not window:
            return {"kv_len": self.seq_len + number}
        seen = select(less(window, number), window, number)
        return {"kv_len": self.seq_len + seen, "window": seen}
