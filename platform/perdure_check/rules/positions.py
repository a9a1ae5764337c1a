"""I15: positions only rise, and reach the end once all is quiet."""

from __future__ import annotations

from perdure_check.facts import Entry
from perdure_check.live import CLAIM
from perdure_check.positions import marks_of
from perdure_check.rules.base import Rule
from perdure_check.verdict import Witness


class PositionsRise(Rule):
    """Watermark, marks and released never go down over live records, and point to nothing that is not there."""

    invariant = "I15"
    title = "positions"

    def entry(self, entry: Entry) -> None:
        """See Rule."""
        if entry.cause is not None or entry.kind == CLAIM:
            return
        known, body = self.context.positions[entry.partition], entry.body
        if body["released"] < known.released:
            self.breaks(f"released goes down from {known.released} to {body['released']}", entry)
        if body["released"] >= entry.offset:
            self.breaks(f"released is {body['released']}, and the record itself lies at {entry.offset}", entry)
        watermark = body.get("watermark")
        if watermark is None:
            if body.get("marks"):
                self.breaks("it carries marks without the watermark that they belong to", entry)
            return
        if watermark < known.watermark:
            self.breaks(f"the watermark goes down from {known.watermark} to {watermark}", entry)
        for source, mark in marks_of(body).items():
            if mark < known.marks.get(source, mark):
                self.breaks(f"the mark of partition {source} goes down from {known.marks[source]} to {mark}", entry)

    def finish(self) -> None:
        """See Rule."""
        commands = f"{self.context.namespace}.commands"
        for partition, positions in self.context.positions.items():
            bounds = self.context.bounds.get((commands, partition))
            if partition in self.context.stopped or bounds is None:
                continue
            if positions.watermark >= bounds.end:
                sentence = f"the watermark is {positions.watermark}, and commands end at {bounds.end}: the log has lost some"
                self.witness_of(partition, sentence)
            if positions.watermark + 1 < bounds.start:
                sentence = f"commands begin at {bounds.start}, and the watermark is {positions.watermark}: some were deleted unread"
                self.witness_of(partition, sentence)
            if self.context.options.quiescent:
                self._at_the_end(partition, bounds.end)
        self.detail = "they only rise" + (
            ", and have reached the end" if self.context.options.quiescent else "; not asked to be at the end"
        )

    def _at_the_end(self, partition: int, end: int) -> None:
        positions, last = self.context.positions[partition], self.context.expected.with_effects.get(partition, -1)
        if positions.watermark != end - 1:
            self.witness_of(partition, f"all is quiet, and the watermark is {positions.watermark} where commands end at {end}")
        if positions.released < last:
            self.witness_of(partition, f"all is quiet, and released is {positions.released} where the record at {last} has effects")

    def witness_of(self, partition: int, sentence: str) -> None:
        """Broken by what is known of a partition at the end."""
        self.witness(Witness(sentence, partition, (self.context.positions[partition].last_live,)))
