"""The command ``dsocr measure``: times of a real device."""

from __future__ import annotations

from pathlib import Path

import click

from mkdocs_dsocr.cli.command import Command, OutputPath, check_output, say, write_file
from mkdocs_dsocr.cli.options import WORKLOADS, model_option
from mkdocs_dsocr.resources import DEFAULT_WORKLOAD


@click.command(cls=Command)
@model_option
@click.option(
    "--workload",
    "workloads",
    multiple=True,
    type=WORKLOADS,
    default=(DEFAULT_WORKLOAD,),
    show_default=True,
    help="Id or path; more than once for several.",
)
@click.option(
    "--device",
    type=click.Choice(["cuda", "cpu"]),
    default="cuda",
    show_default=True,
    help="Where the model really runs, with random bfloat16 weights.",
)
@click.option("--cuda-graph", is_flag=True, help="Replay decode steps from a CUDA graph.")
@click.option(
    "--largest-batch", is_flag=True, help="Look for the largest batch that the GPU holds, too."
)
@click.option(
    "--repeats", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Timed calls."
)
@click.option(
    "--output",
    type=OutputPath("file or folder"),
    required=True,
    help="JSON file to write; of several workloads a folder.",
)
def measure(
    model: str,
    workloads: tuple[str, ...],
    device: str,
    cuda_graph: bool,
    largest_batch: bool,
    repeats: int,
    output: Path,
) -> None:
    """Time every pass and module on a real device, for the plugin's measurements."""
    from mkdocs_dsocr.build import pipeline
    from mkdocs_dsocr.inputs.errors import InputError, repr_short

    several = len(workloads) > 1
    settings = pipeline.Settings(model=model, workloads=workloads)
    if not several and output.suffix != ".json":
        allowed = "a file that ends in .json"
        raise InputError("option", "output", repr_short(str(output)), allowed)
    analyses = pipeline.analyse(settings)
    options = pipeline.MeasureOptions(device, cuda_graph, largest_batch, repeats)
    places = {
        row[0].workload.profile_id: output / f"{row[0].workload.profile_id}.json"
        if several
        else output
        for row in analyses
    }
    for path in places.values():
        check_output(path, settings.files())
    measured = pipeline.measure(analyses, options, say)
    for profile_id, text in measured:
        # Each as soon as it is done: whatever happens later, it is there.
        write_file(places[profile_id], text)
        say(f"wrote {places[profile_id]}")
