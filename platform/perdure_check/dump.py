"""A log as a plain list of records: what a simulation hands over, and copies that were kept of records before they were deleted.

A copy is a file of JSON lines with topic, partition, offset, timestamp_ms, and key, value and headers in base64.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from perdure_check.log import Bounds, Place, Record, Source, Unreadable


class Dump:
    """Records in memory. `partitions` names topics that exist without records; `starts` where a partition's first records were deleted."""

    def __init__(self, records: Iterable[Record], partitions: dict[str, int] | None = None, starts: dict[Place, int] | None = None) -> None:
        self._records: dict[Place, list[Record]] = defaultdict(list)
        self._partitions = dict(partitions or {})
        self._starts = dict(starts or {})
        for record in records:
            self._records[record.topic, record.partition].append(record)
        for (topic, partition), found in self._records.items():
            found.sort(key=lambda record: record.offset)
            self._partitions[topic] = max(self._partitions.get(topic, 0), partition + 1)

    def topics(self, prefix: str) -> dict[str, int]:
        """See Source."""
        return {name: count for name, count in self._partitions.items() if name.startswith(prefix)}

    def bounds(self, topic: str, partition: int) -> Bounds:
        """See Source."""
        found = self._records.get((topic, partition))
        start = self._starts.get((topic, partition), found[0].offset if found else 0)
        return Bounds(start, found[-1].offset + 1 if found else start)

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """See Source."""
        return (record for record in self._records.get((topic, partition), ()) if start <= record.offset < end)

    def close(self) -> None:
        """See Source."""


class WithCopies:
    """A log, with the records that were copied before they were deleted put back in front of what is left."""

    def __init__(self, source: Source, copies: Dump) -> None:
        self._source = source
        self._copies = copies

    def topics(self, prefix: str) -> dict[str, int]:
        """See Source."""
        return self._source.topics(prefix)

    def bounds(self, topic: str, partition: int) -> Bounds:
        """See Source. The copies count only where they reach up to what is left."""
        left, copied = self._source.bounds(topic, partition), self._copies.bounds(topic, partition)
        return Bounds(copied.start, left.end) if copied.start < left.start <= copied.end else left

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Record]:
        """See Source."""
        left = self._source.bounds(topic, partition).start
        if start < left:
            yield from self._copies.read(topic, partition, start, min(left, end))
        if end > left:
            yield from self._source.read(topic, partition, max(start, left), end)

    def close(self) -> None:
        """See Source."""
        self._source.close()


def keep(source: Source, namespace: str, place: Path) -> int:
    """Add to a copy what is there of the histories and commands, and not yet in it; how many records. Raises Unreadable."""
    known = read_copies([place]) if place.exists() else Dump(())
    added = 0
    for kind in ("history", "commands"):
        topic = f"{namespace}.{kind}"
        for partition in range(source.topics(topic).get(topic, 0)):
            bounds = source.bounds(topic, partition)
            records = list(source.read(topic, partition, max(bounds.start, known.bounds(topic, partition).end), bounds.end))
            write_copy(place, records)
            added += len(records)
    return added


def write_copy(place: Path, records: Iterable[Record]) -> None:
    """Add records to a copy."""
    with place.open("a", encoding="utf-8") as file:
        for record in records:
            line = {
                "topic": record.topic,
                "partition": record.partition,
                "offset": record.offset,
                "timestamp_ms": record.timestamp_ms,
                "key": None if record.key is None else b64encode(record.key).decode(),
                "value": b64encode(record.value).decode(),
                "headers": [[name, b64encode(content).decode()] for name, content in record.headers],
            }
            file.write(json.dumps(line) + "\n")


def read_copies(places: Iterable[Path]) -> Dump:
    """The records of several copies; one that is in two of them counts once. Raises Unreadable."""
    found: dict[tuple[str, int, int], Record] = {}
    for place in places:
        try:
            lines = place.read_text("utf-8").splitlines()
        except OSError as error:
            raise Unreadable(f"the copy {place} cannot be read: {error}") from error
        for number, line in enumerate(lines, 1):
            try:
                record = _record(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise Unreadable(f"line {number} of the copy {place} is no record: {error!r}") from error
            found[record.topic, record.partition, record.offset] = record
    return Dump(found.values())


def _record(line: dict[str, object]) -> Record:
    key, headers = line["key"], line["headers"]
    assert isinstance(headers, list)
    return Record(
        str(line["topic"]),
        int(str(line["partition"])),
        int(str(line["offset"])),
        int(str(line["timestamp_ms"])),
        None if key is None else b64decode(str(key), validate=True),
        b64decode(str(line["value"]), validate=True),
        tuple((str(name), b64decode(str(content), validate=True)) for name, content in headers),
    )
