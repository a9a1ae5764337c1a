"""A log that was good, and is changed by hand: what a checker must reject."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from kit.checking import SIM_BANK, SIM_OPEN, dump
from kit.world import NAMESPACE, World
from perdure_check.checker import check
from perdure_check.context import Options
from perdure_check.dump import Dump
from perdure_check.log import Bounds, Place, Record
from perdure_check.verdict import Report
from perdure_schemas.codec import TOPIC_CODECS
from perdure_schemas.errors import CodecError
from perdure_schemas.live import link_of

HISTORY, COMMANDS, REPLIES, TASKS = f"{NAMESPACE}.history", f"{NAMESPACE}.commands", f"{NAMESPACE}.replies", f"{NAMESPACE}.tasks.sim"
DEAD_LETTERS = f"{NAMESPACE}.dead-letters"


def codec_of(topic: str) -> Any:
    """The product's codec for a topic."""
    return TOPIC_CODECS[topic.split(".")[1].replace("-", "_")]


class Forged:
    """The topics of a world that has come to its end. Offsets stay as they are: records are changed, added at the end or cut off there."""

    def __init__(self, world: World) -> None:
        whole = dump(world.medium, NAMESPACE, world.medium.deleted)
        self.partitions = whole.topics("")
        self.records: dict[Place, list[Record]] = {}
        self.bounds: dict[Place, Bounds] = {}
        for topic, count in self.partitions.items():
            for partition in range(count):
                bounds = self.bounds[topic, partition] = whole.bounds(topic, partition)
                self.records[topic, partition] = list(whole.read(topic, partition, bounds.start, bounds.end))

    def change(self, topic: str, what: Callable[[Any], Any], *, last: bool = False, count: int = 1) -> Place:
        """Replace the first records (or the last one) that `what` gives something else for; says where."""
        changed: list[Place] = []
        for place, records in self.records.items():
            if place[0] != topic:
                continue
            for index in reversed(range(len(records))) if last else range(len(records)):
                before = codec_of(topic).decode(records[index].value)
                after = what(before)
                if after is not None and after != before:
                    value = after if isinstance(after, bytes) else codec_of(topic).encode(after)
                    if topic == HISTORY:
                        _link_again(records, index, value)
                    records[index] = dataclasses.replace(records[index], value=value)
                    changed.append((place[0], place[1]))
                    if len(changed) == count:
                        return place
        assert changed, f"nothing to change in {topic}"
        return changed[0]

    def add(self, place: Place, body: Any, timestamp_ms: int | None = None) -> Record:
        """One more record at the end."""
        records = self.records[place]
        offset = records[-1].offset + 1 if records else 0
        time_ms = timestamp_ms if timestamp_ms is not None else records[-1].timestamp_ms if records else 0
        value = body if isinstance(body, bytes) else codec_of(place[0]).encode(body)
        records.append(Record(*place, offset, time_ms, None, value))
        return records[-1]

    def last(self, place: Place) -> Any:
        """The last record of a place, decoded."""
        return codec_of(place[0]).decode(self.records[place][-1].value)

    def check(self, summaries: tuple[Any, ...] | None = None) -> Report:
        """What the checker says."""
        starts = {place: bounds.start for place, bounds in self.bounds.items()}
        source = Dump([record for records in self.records.values() for record in records], self.partitions, starts)
        options = Options(quiescent=True, bank=SIM_BANK, may_stay_open=SIM_OPEN, clock_bound_ms=0, summaries=summaries)
        return check(source, NAMESPACE, options)


def _link_again(records: list[Record], index: int, value: bytes) -> None:
    """Let what followed the record at `index` follow what it is made: who forges one record forges those behind it as well."""
    codec, links = codec_of(HISTORY), {link_of(records[index].value): link_of(value)}
    for at in range(index + 1, len(records)):
        try:
            record = codec.decode(records[at].value)
        except CodecError:
            continue
        if getattr(record, "follows", 0) in links:
            made = codec.encode(dataclasses.replace(record, follows=links[record.follows]))
            links[link_of(records[at].value)] = link_of(made)
            records[at] = dataclasses.replace(records[at], value=made)
