"""The decoders of the five topics, made from the released `.avsc` files."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from perdure_check.avro import Decoder

HISTORY, COMMANDS, TASKS, REPLIES, DEAD_LETTERS = "history", "commands", "tasks", "replies", "dead_letters"


@cache
def released(topic: str) -> tuple[Any, ...]:
    """Every released schema of a topic, oldest first. The package that holds them is a place for data here; its code is not run."""
    folder = files("perdure_schemas") / "avro" / topic
    found = {int(place.name[1:-5]): place.read_text("utf-8") for place in folder.iterdir() if place.name.endswith(".avsc")}
    return tuple(json.loads(text) for _, text in sorted(found.items()))


@cache
def decoder(topic: str) -> Decoder:
    """The decoder of a topic's records."""
    return Decoder(released(topic))
