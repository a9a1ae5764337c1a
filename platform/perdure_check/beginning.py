"""Where a history may be read from (design.md 3.8, faults.md R5): offset 0, or a checkpoint that proves itself.

It proves itself if, read from there, a live record names it as the log's start, and every run that was skipped has been carried by then.
"""

from __future__ import annotations

from collections.abc import Iterator

from perdure_check.avro import Decoded, Undecodable
from perdure_check.context import Begin
from perdure_check.facts import Entry, Fact, Run
from perdure_check.fold import Fold
from perdure_check.live import CHECKPOINT, LiveRule, Missing
from perdure_check.log import Bounds, Record, Source
from perdure_check.schemas import HISTORY, decoder


class NoBeginning(Exception):
    """The log does not begin at 0, and nowhere may it be begun: records were deleted otherwise than by trimming."""


def find_beginning(source: Source, topic: str, partition: int, bounds: Bounds, end: int) -> Begin:
    """The newest place at which this history may be begun. Raises NoBeginning."""
    if bounds.start == 0:
        return Begin()
    named: set[int] = set()
    for _, body in _decoded(source.read(topic, partition, bounds.start, end)):
        if body is not None and body.get("start", -1) >= bounds.start:
            named.add(body["start"])
    for offset in sorted(named, reverse=True):
        checkpoint = _proven(source, topic, partition, offset, end)
        if checkpoint is not None:
            return Begin(offset, checkpoint)
    tried = f"of {len(named)} that are named as its start, none proves itself" if named else "no record names a start"
    raise NoBeginning(f"{topic}[{partition}] begins at offset {bounds.start}, and may be begun nowhere: {tried}")


def _proven(source: Source, topic: str, partition: int, begin: int, end: int) -> Decoded | None:
    rule = first = None
    proof = _Proof()
    fold = Fold(partition, proof, is_partial=True)
    for record, body in _decoded(source.read(topic, partition, begin, end)):
        if body is None:
            return None
        if rule is None:
            if record.offset != begin or body["@kind"] != CHECKPOINT or body["part"] != 1:
                return None
            rule, first = LiveRule.before(body), body
        try:
            cause = rule.judge(body)
        except Missing:
            return None
        if cause is not None:
            continue
        entry = Entry(partition, record.offset, record.timestamp_ms, body["@kind"], body, None)
        fold.take(entry)
        if proof.failed:
            return None
        if body.get("start", -1) >= begin:
            return first
    return None


def _decoded(records: Iterator[Record]) -> Iterator[tuple[Record, Decoded | None]]:
    decode = decoder(HISTORY).decode
    for record in records:
        try:
            yield record, decode(record.value)
        except Undecodable:
            yield record, None


class _Proof:
    """A listener that only remembers that something did not fit."""

    def __init__(self) -> None:
        self.failed = False

    def event(self, fact: Fact) -> None:
        """Nothing to see."""

    def forgotten(self, run: Run, entry: Entry) -> None:
        """Nothing to see."""

    def effects(self, entry: Entry, transitions: list[tuple[Run | None, Decoded]]) -> None:
        """Nothing to see."""

    def problem(self, invariant: str, sentence: str, entry: Entry, run: Run | None) -> None:  # noqa: ARG002 - a Listener's signature
        """It is no beginning."""
        self.failed = True
