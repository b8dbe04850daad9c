"""What a build says of its result."""

from __future__ import annotations

from mkdocs.exceptions import PluginError
from mkdocs.plugins import get_plugin_logger

from mkdocs_dsocr.build.pipeline import Result

log = get_plugin_logger("dsocr")


def has_to_say(result: Result) -> bool:
    """Tell whether there are notes, warnings or failures."""
    main = result.main
    return bool(main.config.notes or main.config.storage.notes or main.warnings or result.failures)


def report(result: Result, is_strict: bool) -> None:
    """Log notes, warnings and failures.

    Raises
    ------
    PluginError
        If there are failures, and a build `is_strict`.
    """
    main = result.main
    for note in (*main.config.notes, *main.config.storage.notes):
        log.info(note)
    for warning in main.warnings:
        # Stating weight_dtype settles one; an unused key is none of a build's failures.
        (log.warning if warning in main.plan.warnings else log.info)(warning)
    number = len(result.verification.failures)
    differences, others = result.failures[:number], result.failures[number:]
    for failure in differences:
        log.warning("verification: %s", failure)
    for failure in others:
        log.warning(failure)
    if differences and is_strict:
        raise PluginError(f"dsocr: formula and trace differ: {'; '.join(differences)}")
    if others and is_strict:
        raise PluginError(f"dsocr: {'; '.join(others)}")
