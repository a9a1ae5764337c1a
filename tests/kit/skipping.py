"""A reader that leaves out a record that is there, as a client library may that has lost its place (A8)."""

from __future__ import annotations

from typing import Any

from kit.world import Process
from perdure._log.port import Record, TopicPartition


def skips(process: Process, place: TopicPartition, offset: int, times: int = 1) -> list[int]:
    """Let the process's consumer leave out the record at `offset` so many times; it is put into the list whenever it does."""
    consumer: Any = process.node._consumer
    poll = consumer._inner.poll
    skipped: list[int] = []

    def without(records_max: int, timeout_ms: int) -> list[Record]:
        records: list[Record] = poll(records_max, timeout_ms)
        left = [one for one in records if (one.topic, one.partition, one.offset) != (*place, offset)]
        if len(skipped) >= times or len(left) == len(records):
            return records
        skipped.append(offset)
        return left

    consumer._inner.poll = without
    vars(consumer).pop("poll", None)  # what the port was asked for before, it keeps
    return skipped
