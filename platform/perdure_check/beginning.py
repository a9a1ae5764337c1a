"""Where a history may be read from (design.md 3.8, faults.md R5): offset 0, or a checkpoint that proves itself.

It proves itself if, read from there, a live record names it as the log's start, and every run that was skipped has been carried by then.
"""

from __future__ import annotations

from perdure_check.agreement import Reader
from perdure_check.avro import Decoded, Undecodable
from perdure_check.context import Begin
from perdure_check.log import Bounds, Source
from perdure_check.schemas import HISTORY, decoder


class NoBeginning(Exception):
    """The log does not begin at 0, and nowhere may it be begun: records were deleted otherwise than by trimming."""


def find_beginning(source: Source, topic: str, partition: int, bounds: Bounds) -> Begin:
    """The newest place at which this history may be begun. Raises NoBeginning."""
    if bounds.start == 0:
        return Begin()
    why = "no record names a start"
    for offset in sorted(_named(source, topic, partition, bounds), reverse=True):
        reader = Reader(partition, offset)
        reader.read(source, topic, bounds.end, until_named=True)
        if not reader.failure and reader.named >= offset:
            return Begin(offset, _at(source, topic, partition, offset))
        why = f"that named at {offset} does not prove itself: {reader.failure or 'no live record names it'}"
    raise NoBeginning(f"{topic}[{partition}] begins at offset {bounds.start}, and may be begun nowhere: {why}")


def _named(source: Source, topic: str, partition: int, bounds: Bounds) -> set[int]:
    """The offsets that checkpoints, live or dead, name as the start, as far as they are there."""
    named = set()
    for record in source.read(topic, partition, bounds.start, bounds.end):
        try:
            start = decoder(HISTORY).decode(record.value).get("start", -1)
        except Undecodable:
            continue  # whoever reads on from the beginning finds it
        if start >= bounds.start:
            named.add(start)
    return named


def _at(source: Source, topic: str, partition: int, offset: int) -> Decoded:
    (record,) = source.read(topic, partition, offset, offset + 1)
    return decoder(HISTORY).decode(record.value)
