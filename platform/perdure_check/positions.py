"""The part of a partition's fold that belongs to no run: watermark, marks, released, applied offsets, remembered requests, time."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from perdure_check.avro import Decoded
from perdure_check.facts import Entry
from perdure_check.live import CHECKPOINT, COMMIT

Mark = tuple[int, int]
"""An offset of the source's history, and an index among the commands of the record there."""


@dataclass(slots=True)
class Positions:
    """As they are behind the live records read so far."""

    watermark: int = -1
    released: int = -1
    marks: dict[int, Mark] = field(default_factory=dict)
    applied: dict[str, int] = field(default_factory=dict)
    """Offsets above the watermark that were applied, the last one of each workflow id."""
    requests: dict[tuple[str, str], int] = field(default_factory=dict)
    """Settled requests that have not expired by recorded time, with their expiry."""
    time_ms: int = 0
    last_live: int = -1
    last_with_effects: int = -1
    _expiries: list[tuple[int, str, str]] = field(default_factory=list)

    def take(self, entry: Entry) -> None:
        """A live record that is no claim."""
        body = entry.body
        self.last_live = entry.offset
        self.time_ms = max(self.time_ms, entry.time_ms, entry.timestamp_ms)
        self.released = max(self.released, body["released"])
        for applied in body.get("applied", ()):
            workflow_id, offset = applied["workflow_id"], applied["offset"]
            self.applied[workflow_id] = max(self.applied.get(workflow_id, -1), offset)
        if entry.kind in (COMMIT, CHECKPOINT):
            for request in body["requests"]:
                self._remember(request)
        if (watermark := body.get("watermark")) is not None:
            self.watermark = max(self.watermark, watermark)
            self.marks = {**self.marks, **{source: max(mark, self.marks.get(source, mark)) for source, mark in marks_of(body).items()}}
            self.applied = {workflow_id: offset for workflow_id, offset in self.applied.items() if offset > self.watermark}
        while self._expiries and self._expiries[0][0] < self.time_ms:
            expiry_ms, workflow_id, request_id = heapq.heappop(self._expiries)
            if self.requests.get((workflow_id, request_id)) == expiry_ms:
                del self.requests[workflow_id, request_id]

    def _remember(self, request: Decoded) -> None:
        name, expiry_ms = (request["workflow_id"], request["request_id"]), request["expires_at_ms"]
        if self.requests.get(name) != expiry_ms:
            self.requests[name] = expiry_ms
            heapq.heappush(self._expiries, (expiry_ms, *name))


def marks_of(body: Decoded) -> dict[int, Mark]:
    """The marks that a record carries."""
    return {int(source): (mark["offset"], mark["index"]) for source, mark in body["marks"].items()}
