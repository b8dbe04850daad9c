"""Text of inputs, made safe for a terminal, a log, and a drawing; numbers with their nouns."""

from __future__ import annotations

import unicodedata
from typing import Final

JOINERS: Final = "\u200c\u200d"
"""Format characters that scripts and emoji need; they hide and turn nothing."""


def printable(text: str) -> str:
    r"""Return text on one line, with a name for each character that has no shape.

    Escape sequences would act on the terminal, a line break would forge a message or end an
    HTML block, and a direction mark would turn the text after it. Line breaks and tabs become
    blanks, other such characters are written as ``\uXXXX``. Lone surrogates, which stand for
    bytes of a file's name that are not UTF-8, are among them.
    """
    if text.isprintable():
        return text
    return "".join(c if _has_shape(c) else _named(c) for c in text)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, which is in the plural unless the number is 1."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _named(character: str) -> str:
    return " " if character.isspace() else f"\\u{ord(character):04x}"


def _has_shape(character: str) -> bool:
    category = unicodedata.category(character)
    return category == "Zs" or category[0] not in "CZ" or character in JOINERS
