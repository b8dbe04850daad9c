"""The reference pages that are made from the code; run by mkdocs-gen-files."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import mkdocs_gen_files

from mkdocs_dsocr.cli import main
from mkdocs_dsocr.inputs import load_hardware, load_workload, shipped
from mkdocs_dsocr.layers.formats import FORMATS
from mkdocs_dsocr.models import load_model_config, model_of
from mkdocs_dsocr.report import json_schema

README = Path(__file__).parents[1] / "README.md"


def commands(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield the help of a command and of those within it."""
    yield f"## `{context.command_path}`\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, click.Context(inner, parent=context, info_name=name))


def schema() -> Iterator[str]:
    """Yield the fields of every record of the report."""
    definitions: dict[str, Any] = json_schema()["$defs"]
    yield (
        "Units: TFLOP = 10¹², Tb = 10¹² bit, GB = 10⁹ byte, times in milliseconds. "
        "`report.schema.json` beside each report is the same for machines.\n"
    )
    for name, record in definitions.items():
        yield f"## {name}\n\n{record.get('description', '').strip()}\n"
        yield "| field | type | meaning |\n|---|---|---|"
        for field, content in record.get("properties", {}).items():
            meaning = html.escape(content.get("description", "")).replace("|", "\\|")
            yield f"| `{field}` | {kind(content)} | {meaning} |"
        yield ""


def kind(field: dict[str, Any]) -> str:
    """Return the type of a field in words; a record links to its table."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in field:
        return " or ".join(kind(choice) for choice in field["anyOf"])
    if "enum" in field or "const" in field:
        values = field.get("enum", [field.get("const")])
        return ", ".join(f"`{value}`" for value in values)
    if field.get("type") == "array":
        return f"list of {kind(field.get('items', {}))}"
    if field.get("type") == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"map to {kind(field['additionalProperties'])}"
    return str(field.get("type", "any"))


def options() -> str:
    """Return README's table of options."""
    text = README.read_text(encoding="utf-8")
    start = text.index("| option |")
    return text[start : text.index("\n\n", start)].replace("docs/reference/", "")


def profiles() -> Iterator[str]:
    """Yield the models, workloads and GPUs that ship, by id."""
    yield "Ids for `model`, `workloads` and `hardware`, and for the commands.\n\n## Models\n"
    yield "| id | model | decoder layers | hidden size |\n|---|---|--:|--:|"
    for name in shipped("models"):
        config = load_model_config(name)
        sizes = f"{config.language.num_hidden_layers} | {config.language.hidden_size:,}"
        yield f"| `{name}` | {model_of(config).title} | {sizes} |"
    yield "\n## Workloads\n\n| id | what it is |\n|---|---|"
    for name in shipped("workloads"):
        yield f"| `{name}` | {load_workload(name).description} |"
    yield (
        "\n## GPUs\n\nPeaks are dense. Nine of ten device times of eager stages, without the "
        "projector, are expected within the last column.\n\n"
        "| id | GPU | bf16 TFLOPS | GB/s | memory, GB | tensor cores also know | times ± |\n"
        "|---|---|--:|--:|--:|---|--:|"
    )
    for name in shipped("hardware"):
        gpu = load_hardware(name)
        others = ", ".join(f for f in FORMATS if f not in ("bf16", "fp32") and gpu.peak(f))
        peak = f"{gpu.tensor_bf16.tflops:,g}" if gpu.tensor_bf16 else "none"
        yield (
            f"| `{name}` | {gpu.name} | {peak} | {gpu.bandwidth_gb_s:,g} | "
            f"{gpu.memory_bytes / 1e9:.1f} | {others} | {gpu.time_error:.0%} |"
        )


def write(page: str, title: str, lines: Iterator[str] | list[str]) -> None:
    with mkdocs_gen_files.open(f"reference/{page}.md", "w") as file:
        print(f"# {title}\n", *lines, sep="\n", file=file)


root = click.Context(main, info_name="dsocr", terminal_width=88, max_content_width=88)
write("cli", "Commands", commands(main, root))
write("profiles", "Models, workloads and GPUs", profiles())
write("schema", "The report's schema", schema())
write(
    "options",
    "Options",
    ["Of the plugin `dsocr` in `mkdocs.yml`; paths are relative to that file.\n", options()],
)
