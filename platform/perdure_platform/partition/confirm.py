"""Stage 4: own tail + live rule -> live records in log order, or Retired.

A record is confirmed when it comes back live *and equal to what was sent* (R18). Anything else that is live was written by somebody
else, and everything behind a hole is lost: then this claim is over. Copies and late records of others are counted, nothing more (R19).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

from perdure._log.port import Record
from perdure_platform.partition.apply import Judged, RunChange
from perdure_schemas.codec import decode_history
from perdure_schemas.errors import CodecError, LogCorrupt, PerdureError
from perdure_schemas.history import Claim, ClaimedRecord, HistoryRecord
from perdure_schemas.live import LiveState, Verdict, judge, link_of


class Retired(PerdureError):
    """This claim is over: producer and memory are dropped, and the log tells what became of what was in flight."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A record on its way, with what it does once it is confirmed."""

    value: bytes
    link: int
    record: ClaimedRecord
    workflow_id: str
    runs: tuple[RunChange, ...]


class Confirmer:
    """Reads one partition's history under one claim."""

    def __init__(self, live: LiveState) -> None:
        self.live = live
        self.in_flight: deque[Sent] = deque()
        self.in_flight_bytes = 0
        self.dead: Counter[str] = Counter()

    def sent(self, sent: Sent) -> None:
        """A record was appended."""
        self.in_flight.append(sent)
        self.in_flight_bytes += len(sent.value)

    def confirm(self, records: Sequence[Record]) -> list[tuple[Judged, Sent | None]]:
        """Judge what was read; Sent is None for what is not this claim's. Raises Retired, LogCorrupt."""
        confirmed: list[tuple[Judged, Sent | None]] = []
        for record in records:
            if self.in_flight and self.in_flight[0].value == record.value:
                sent = self.in_flight.popleft()
                self.in_flight_bytes -= len(sent.value)
                verdict, self.live = judge(self.live, sent.record, sent.link)
                if verdict is not Verdict.LIVE:
                    raise Retired(f"own record {sent.record.sequence} came back {verdict} at offset {record.offset}")
                confirmed.append((_judged(record, sent.record, verdict, self.live, sent.runs), sent))
            else:
                confirmed.append((self._foreign(record), None))
        return confirmed

    def _foreign(self, record: Record) -> Judged:
        history = decode_record(record)
        claim_id = self.live.claim_id
        verdict, live = judge(self.live, history, link_of(record.value))
        if verdict is Verdict.LIVE:
            if isinstance(history, Claim):
                raise Retired(
                    f"{history.owner} on {history.host} took the partition with claim {history.claim_number} at offset {record.offset}"
                )
            raise Retired(f"a record under this very claim, which this process did not send, is live at offset {record.offset}")
        if verdict is Verdict.BEHIND_A_HOLE and getattr(history, "claim_id", "") == claim_id:
            raise Retired(f"a record of this claim is missing before offset {record.offset}")
        self.dead[verdict.value] += 1
        self.live = live
        return _judged(record, history, verdict, live, ())


def decode_record(record: Record) -> HistoryRecord:
    """A record of a history topic. Raises LogCorrupt: nothing there may be skipped."""
    try:
        return decode_history(record.value)
    except CodecError as error:
        raise LogCorrupt(
            f"{record.topic}[{record.partition}] offset {record.offset} is not a record that this build reads ({error}); "
            "the partition stops here. Run a newer build, or see the runbook"
        ) from error


def _judged(record: Record, history: HistoryRecord, verdict: Verdict, live: LiveState, runs: tuple[RunChange, ...]) -> Judged:
    return Judged(record.offset, record.leader_epoch, record.timestamp_ms, record.value, history, verdict, live, runs)
