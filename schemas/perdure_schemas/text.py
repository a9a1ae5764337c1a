"""Any value as text that the wire takes: for messages about values, and about errors, that may themselves be broken."""

from __future__ import annotations

_SHOWN_MAX = 200
"""Characters of a value that a message shows."""


def text(value: object) -> str:
    """`value` as plain text. Never raises: a `str()` that fails is told, and half characters (lone surrogates) are spelled out."""
    try:
        plain = str.__str__(value if isinstance(value, str) else str(value))
    except BaseException as error:  # noqa: BLE001 - the text is made by foreign code, and is never worth more than what it tells of
        return f"<a {kind_of(value)} whose text cannot be made: {type(error).__name__}>"
    return plain if plain.isascii() else plain.encode("utf-8", "backslashreplace").decode("utf-8")


def kind_of(value: object) -> str:
    """The name of a value's type."""
    return text(type(value).__name__)


def described(value: object) -> str:
    """A value for a message, with its type: `5 (an int)`. Never raises."""
    try:
        shown = text(repr(value))
    except BaseException:  # noqa: BLE001 - as above
        return f"a {kind_of(value)} whose repr fails"
    if len(shown) > _SHOWN_MAX:
        shown = f"{shown[:_SHOWN_MAX]} …"
    if value is None:
        return shown
    kind = kind_of(value)
    return f"{shown} ({'an' if kind[:1].lower() in 'aeio' else 'a'} {kind})"
