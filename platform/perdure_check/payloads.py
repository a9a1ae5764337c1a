"""Payloads of the default converter, as far as a checker wants to look into them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from perdure_check.avro import Decoded


def first_value(payloads: Sequence[Decoded]) -> Any:
    """The first of some payloads if it is plain JSON, else None."""
    if not payloads or payloads[0]["metadata"].get("encoding") != b"json/plain":
        return None
    try:
        return json.loads(payloads[0]["data"])
    except ValueError:
        return None
