"""What all commands share: their errors, how much they say, and where they write."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from mkdocs_dsocr.resources import docstring
from mkdocs_dsocr.text import counted, printable

LOUDNESS: Final = "mkdocs_dsocr.loudness"
"""Where a context has how much is said: -1, 0 or 1."""


def _louder(by: int) -> Any:
    def callback(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value:
            ctx.meta[LOUDNESS] = by

    return callback


class Command(click.Command):
    """A command that turns bad input into one message, and takes ``--quiet`` and ``--verbose``."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for names, by, words in (
            (["-q", "--quiet"], -1, "Print results and errors only."),
            (["-v", "--verbose"], 1, "Print the files that are read and written as well."),
        ):
            self.params.append(
                click.Option(
                    names, is_flag=True, expose_value=False, callback=_louder(by), help=words
                )
            )
        self.help = _help(self)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments: messages name an option as it was typed."""
        self._typed = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command.

        Raises
        ------
        click.UsageError
            Instead of an :class:`~mkdocs_dsocr.inputs.InputError`: exit code 2.
        """
        from mkdocs_dsocr.inputs import InputError

        try:
            return super().invoke(ctx)
        except InputError as error:
            said = error
            if error.source == "option":
                said = error.at(self._as_typed(error.key), "")
            raise click.UsageError(str(said), ctx) from error

    def _as_typed(self, key: str) -> str:
        """Return the option or argument that a key of the settings comes from."""
        name = key.partition(".")[0].lstrip("-").replace("-", "_")
        names = (name, f"{name}s", name.removesuffix("s"), name.removeprefix("compared_"))
        for param in self.params:
            if isinstance(param, click.Argument) and param.name in names:
                return param.human_readable_name
            if param.name in names:
                typed = (o for o in param.opts if any(_is(o, word) for word in self._typed))
                return next(typed, param.opts[0])
        return f"--{name.replace('_', '-')}"


class Group(click.Group):
    """A group of such commands."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.help = _help(self)


def _help(command: click.Command) -> str | None:
    """Return the help of a command, also where ``python -OO`` removed it."""
    return docstring(command.callback) if command.callback is not None else command.help


def _is(option: str, word: str) -> bool:
    return word.partition("=")[0] == option


def _loudness() -> int:
    context = click.get_current_context(silent=True)
    return context.meta.get(LOUDNESS, 0) if context is not None else 0


def say(message: str) -> None:
    """Print a line of progress to standard error, unless ``--quiet`` is given."""
    if _loudness() >= 0:
        click.echo(printable(message), err=True)


def detail(message: str) -> None:
    """Print a line to standard error if ``--verbose`` is given."""
    if _loudness() > 0:
        click.echo(printable(message), err=True)


def show(line: str) -> None:
    """Print a line of the result to standard output."""
    click.echo(printable(line))


def show_json(value: Any) -> None:
    """Print the result as JSON, in characters that every encoding has."""
    click.echo(json.dumps(value, indent=1))


def failed(sentences: Iterable[str]) -> click.ClickException:
    """Return the error of a command that found a disagreement."""
    return click.ClickException("\n".join(printable(sentence) for sentence in sentences))


@contextmanager
def progress(scenarios: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal, and yield what is told how many scenarios were done."""
    if _loudness() < 0 or not sys.stderr.isatty():
        yield lambda _: None
        return
    label = counted(scenarios, "scenario")
    with click.progressbar(length=scenarios, label=label, file=sys.stderr) as bar:
        yield bar.update


class OutputPath(click.ParamType):  # type: ignore[type-arg]
    """A file or folder to write to. An empty name and ``-`` are mistakes, not names."""

    def __init__(self, what: str, suffixes: tuple[str, ...] = ()) -> None:
        self.name, self._what, self._suffixes = what, what, suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path.

        Raises
        ------
        click.BadParameter
            If it is no name, ends in a suffix of another format, or a file is in its way.
        """
        text = os.fspath(value)
        allowed = f"a {self._what} to write to"
        if self._suffixes:
            allowed += f" that ends in {' or '.join(self._suffixes)}"
        has_suffix = not self._suffixes or Path(text).suffix in self._suffixes
        if text.strip() in ("", "-") or not has_suffix:
            self.fail(f"found {printable(repr(text))}; allowed: {allowed}", param, ctx)
        path = Path(text)
        blocked = _in_the_way(path if self._what == "folder" else path.parent)
        if blocked:
            self.fail(f"found {printable(blocked)}; allowed: {allowed}", param, ctx)
        return path

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Leave the completion to the shell."""
        kind = "dir" if self._what == "folder" else "file"
        return [CompletionItem(incomplete, type=kind)]


def _in_the_way(folder: Path) -> str:
    """Return what stands where a folder has to be, in words; empty if nothing does."""
    for path in (folder, *folder.parents):
        if os.path.exists(path) and not os.path.isdir(path):
            return f"{str(path)!r}, which is not a directory"
    return ""


def check_output(path: Path, inputs: Iterable[Path]) -> None:
    """Refuse to write to an input, below a file, or through a symbolic link to a file.

    Raises
    ------
    InputError
        If `path` is one of them.
    """
    from mkdocs_dsocr.inputs import InputError

    if blocked := _in_the_way(path.parent):
        raise InputError("option", "--output", blocked, "a folder to write to")

    for file in inputs:
        with suppress(OSError):
            if path.samefile(file):
                allowed = "another file: an input is never overwritten"
                raise InputError("option", "--output", f"{path}, which is an input", allowed)
    if path.is_symlink() and path.is_file():
        allowed = "the file itself, or a new name: a file behind a link is never overwritten"
        raise InputError("option", "--output", f"{path}, a symbolic link", allowed)


def write_files(folder: Path, files: dict[str, bytes], inputs: Iterable[Path] = ()) -> None:
    """Write all files, each whole or not at all.

    Raises
    ------
    InputError
        If the folder cannot be written, or a file is one of the inputs.
    """
    from mkdocs_dsocr.inputs import InputError
    from mkdocs_dsocr.io import atomic_write_all

    known = list(inputs)
    for name in files:
        check_output(folder / name, known)
    try:
        atomic_write_all(folder, files)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError("option", "--output", f"{folder}: {reason}", "a folder to write to") from (
            error
        )
    for name in files:
        detail(f"wrote {folder / name}")
    say(f"{counted(len(files), 'file')} in {folder}")


def write_file(path: Path, text: str, inputs: Iterable[Path] = ()) -> None:
    """Write a file, whole or not at all.

    Raises
    ------
    InputError
        If it cannot be written, or is one of the inputs.
    """
    from mkdocs_dsocr.inputs.errors import room_to_write
    from mkdocs_dsocr.io import atomic_write

    check_output(path, inputs)
    with room_to_write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, text)


def run(main: click.Command) -> None:
    """Run a command as a process of its own."""
    from mkdocs_dsocr.signals import unwind_on_signals

    unwind_on_signals()
    if sys.stdout is not None:  # it was closed
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        main()
    except OSError as error:
        place = error.filename or "standard output"
        with suppress(OSError):
            click.echo(f"Error: {printable(str(place))}: {error.strerror or error}", err=True)
        raise SystemExit(1) from error
    finally:
        # The process ends and frees everything: no need to look through it for cycles.
        gc.freeze()
        try:
            sys.stdout.flush()
        except (OSError, AttributeError, ValueError):
            with suppress(OSError, AttributeError, ValueError):
                # What could not be written must not be tried again at the end.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
