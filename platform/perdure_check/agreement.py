"""Every reader of a history comes to the same, from wherever it may begin (design.md 3.8; I2 and I6)."""

from __future__ import annotations

from collections.abc import Iterator

from perdure_check.avro import KIND, Undecodable
from perdure_check.facts import Entry, Fact, Run
from perdure_check.fold import Fold, digest_of
from perdure_check.live import CHECKPOINT, CLAIM, LiveRule, Missing
from perdure_check.log import Source
from perdure_check.positions import Positions
from perdure_check.schemas import HISTORY, decoder


class Reader:
    """Reads a history from the checkpoint at `begin` on, for its outcome alone. `failure` says why it had to stop; empty if it did not."""

    def __init__(self, partition: int, begin: int) -> None:
        self._begin = begin
        self.rule = LiveRule()
        self.positions = Positions()
        self.fold = Fold(partition, self, begin)
        self.failure = ""
        self.named = -1
        """The last start that a live record has named."""

    def read(self, source: Source, topic: str, end: int, *, until_named: bool = False) -> None:
        """Read to `end`; with `until_named` only until a live record names the checkpoint where it began as the log's start."""
        begin = self._begin
        decode = decoder(HISTORY).decode
        is_first = True
        for record in source.read(topic, self.fold.partition, begin, end):
            try:
                body = decode(record.value)
                if is_first:
                    if record.offset != begin or body[KIND] != CHECKPOINT or body["part"] != 1:
                        self.failure = f"there is no checkpoint at offset {begin}"
                        return
                    self.rule, is_first = LiveRule.before(body), False
                cause = self.rule.judge(body, record.value)
            except (Undecodable, Missing) as error:
                self.failure = f"offset {record.offset}: {error}"
                return
            if cause is not None:
                continue
            entry = Entry(self.fold.partition, record.offset, record.timestamp_ms, body[KIND], body, None)
            self.fold.take(entry)
            if entry.kind != CLAIM:
                self.positions.take(entry)
            if self.failure:
                return
            self.named = max(self.named, body.get("start", -1))
            if until_named and self.named >= begin:
                return

    def event(self, fact: Fact) -> None:
        """From the fold; only its outcome is wanted."""

    def forgotten(self, run: Run, entry: Entry) -> None:
        """From the fold; only its outcome is wanted."""

    def effects(self, entry: Entry, transitions: object) -> None:
        """From the fold; only its outcome is wanted."""

    def problem(self, invariant: str, sentence: str, entry: Entry, run: Run | None) -> None:
        """From the fold: reading cannot have begun here."""
        whom = f" (run {run.run_id} of {run.workflow_id!r})" if run is not None else ""
        self.failure = f"offset {entry.offset}: {invariant}: {sentence}{whom}"


def differences(reader: Reader, fold: Fold, positions: Positions, rule: LiveRule) -> Iterator[str]:
    """How the outcome of a reader differs from that of one that began further back, in sentences."""
    if reader.failure:
        yield reader.failure
        return
    if reader.rule != rule:
        yield f"the claim in force, its sequence or the live count differ: {reader.rule} and {rule}"
    ours, theirs = digest_of(reader.fold.runs), digest_of(fold.runs)
    for name in sorted(theirs.keys() - ours.keys()):
        yield f"run {name[1]} of {name[0]!r} is not there"
    for name in sorted(ours.keys() - theirs.keys()):
        yield f"run {name[1]} of {name[0]!r} should have been forgotten"
    for name in sorted(name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]):
        yield f"run {name[1]} of {name[0]!r} is another: {ours[name]} and {theirs[name]}"
    if reader.fold.open != fold.open:
        yield f"other runs are open: {sorted(set(reader.fold.open.items()) ^ set(fold.open.items()))}"
    for what in ("watermark", "released", "marks", "applied", "requests"):
        if getattr(reader.positions, what) != getattr(positions, what):
            yield f"{what}: {getattr(reader.positions, what)} and {getattr(positions, what)}"
