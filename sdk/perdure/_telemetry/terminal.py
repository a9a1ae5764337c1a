"""Text that others chose, made harmless to a terminal and to who reads a log: ids, names, failures and payloads come from the wire."""

from __future__ import annotations

import unicodedata

_ACTS = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of Unicode: control, format (which holds the marks of direction), surrogates, and the two separators that break lines."""


def harmless(text: str, keep: str = "") -> str:
    """The text, with what moves a cursor, colours, or turns the direction of writing escaped. Characters in `keep` stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        one if one in keep or unicodedata.category(one) not in _ACTS else one.encode("unicode_escape").decode("ascii") for one in text
    )


def harmless_lines(text: str, indent: str = "  ") -> str:
    """The same for text of several lines; those after the first are indented, so that none looks like an entry of its own."""
    return harmless(text, keep="\n\t").replace("\n", f"\n{indent}")
