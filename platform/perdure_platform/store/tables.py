"""Typed rows over the Store port: what each kind of key holds.

Reading goes through `Tables`; writing is a batch of rows that `partition/apply.py` fills with the encoders here.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

from perdure_platform.partition.transition.positions import Positions
from perdure_platform.store import keys
from perdure_platform.store.port import Store, StoreDamaged
from perdure_schemas.codec import RecordCodec, decode_history
from perdure_schemas.errors import CodecError
from perdure_schemas.history import Carried, CarriedTransition, CommitRecord, HistoryRecord, SettledRequest, Transition
from perdure_schemas.replies import RunSummary

LAYOUT = 10
"""Raised whenever a row's meaning changes: a store of another layout is set aside and rebuilt."""

T = TypeVar("T")

Batch = dict[bytes, bytes | None]


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose store this is. Anything that differs from the partition at hand means: not this one (R17)."""

    layout: int
    namespace: str
    partition: int
    partition_count: int
    commands_topic_id: str
    history_topic_id: str


@dataclass(frozen=True, slots=True)
class StoredTransition:
    """A transition of a run, with the place and the time of the record that first held it. `size_bytes` is what it takes in the store."""

    sequence: int
    offset: int
    time_ms: int
    size_bytes: int
    transition: Transition


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint at which the log may begin."""

    offset: int
    time_ms: int
    watermark: int


_IDENTITY: RecordCodec[Identity] = RecordCodec(Identity)
_POSITIONS: RecordCodec[Positions] = RecordCodec(Positions)
_REQUEST: RecordCodec[SettledRequest] = RecordCodec(SettledRequest)
_SUMMARY: RecordCodec[RunSummary] = RecordCodec(RunSummary)

encode_identity = _IDENTITY.encode
encode_positions = _POSITIONS.encode
encode_request = _REQUEST.encode
decode_request = _REQUEST.decode
encode_summary = _SUMMARY.encode


def encode_run_record(append_time_ms: int, value: bytes) -> bytes:
    """A row of a run: the record as it is in the log, behind its append time."""
    return keys.number(append_time_ms) + value


class Tables:
    """Reads a partition's rows. Raises StoreDamaged for whatever it cannot read."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def identity(self) -> Identity | None:
        """Whose store it is; None if it is empty."""
        value = self.store.get(keys.IDENTITY)
        return None if value is None else _read(_IDENTITY, value, keys.IDENTITY)

    def positions(self) -> Positions:
        """How far the fold has come."""
        value = self.store.get(keys.POSITIONS)
        return Positions() if value is None else _read(_POSITIONS, value, keys.POSITIONS)

    def applied(self) -> dict[str, int]:
        """Last applied command offsets, by workflow id."""
        return {key[1:].decode(): int.from_bytes(value, "big") for key, value in self.store.scan(keys.APPLIED)}

    def requests(self) -> Iterator[SettledRequest]:
        """Every settled request that has not expired."""
        for key, value in self.store.scan(keys.REQUESTS):
            yield _read(_REQUEST, value, key)

    def request(self, workflow_id: str, request_id: str) -> SettledRequest | None:
        """A settled request that has not expired."""
        key = keys.request(workflow_id, request_id)
        value = self.store.get(key)
        return None if value is None else _read(_REQUEST, value, key)

    def expiries(self, from_ms: int = 0) -> Generator[bytes, None, None]:
        """Keys of the moments at which settled requests expire, the earliest first; from a moment on that is known to be the first."""
        for key, _ in self.store.scan(keys.EXPIRIES, keys.EXPIRIES + keys.number(from_ms)):
            yield key

    def current_run(self, workflow_id: str) -> str | None:
        """The current run id of a workflow id."""
        value = self.store.get(keys.current_run(workflow_id))
        return None if value is None else value.decode()

    def transitions(self, workflow_id: str, run_id: str) -> Iterator[StoredTransition]:
        """A run's transitions in order. Parts of a carried run count once all of them are there."""
        parts: list[tuple[CarriedTransition, int]] = []
        for key, value in self.store.scan(keys.run_records(workflow_id, run_id)):
            record = _history(value[8:], key)
            if isinstance(record, Carried):
                if record.part == 1:
                    parts.clear()
                parts += ((carried, len(value) // len(record.transitions)) for carried in record.transitions)
                if record.part == record.parts:
                    yield from (StoredTransition(c.sequence, c.offset, c.time_ms, size, c.transition) for c, size in parts)
            elif isinstance(record, CommitRecord):
                offset = keys.offset_of_run_record(key)
                for transition in record.transitions:
                    if transition.run_id == run_id and transition.workflow_id == workflow_id:
                        yield StoredTransition(record.sequence, offset, record.time_ms, len(value), transition)

    def carried_parts(self, workflow_id: str, run_id: str) -> list[Carried]:
        """The parts of a run that stand at the end of its records, from the first part on."""
        parts: list[Carried] = []
        for _, value in self.store.scan_back(keys.run_records(workflow_id, run_id)):
            record = _history(value[8:], keys.RUNS)
            if not isinstance(record, Carried):
                break
            parts.insert(0, record)
            if record.part == 1:
                break
        return parts

    def run_rows(self, workflow_id: str, run_id: str) -> list[bytes]:
        """The keys of a run's records, in order."""
        return [key for key, _ in self.store.scan(keys.run_records(workflow_id, run_id))]

    def checkpoints(self) -> Iterator[StoredCheckpoint]:
        """The checkpoints at which the log may begin, oldest first."""
        for key, value in self.store.scan(keys.CHECKPOINTS):
            time_ms, watermark = int.from_bytes(value[:8], "big"), int.from_bytes(value[8:], "big") - 1
            yield StoredCheckpoint(keys.parse_offset(key), time_ms, watermark)

    def half_checkpoint(self) -> int:
        """Where the first part of a checkpoint stands of which others are missing; -1 if there is none."""
        value = self.store.get(keys.HALF_CHECKPOINT)
        return -1 if value is None else int.from_bytes(value, "big")

    def began_at(self) -> int:
        """Where this store's fold began."""
        value = self.store.get(keys.BEGAN)
        return 0 if value is None else int.from_bytes(value, "big")

    def summaries(self, start: bytes = b"") -> Iterator[tuple[bytes, RunSummary]]:
        """Runs by start time, newest first, with their keys."""
        for key, value in self.store.scan(keys.VISIBILITY, start):
            yield key, _read(_SUMMARY, value, key)

    def summaries_back(self) -> Iterator[RunSummary]:
        """Runs by start time, oldest first."""
        for key, value in self.store.scan_back(keys.VISIBILITY):
            yield _read(_SUMMARY, value, key)

    def open_runs(self) -> int:
        """How many runs are open. Reads a key of each: for operators, not for every turn."""
        return sum(1 for _ in self.store.scan(keys.OPEN_RUNS))

    def due(self, from_ms: int = 0) -> Iterator[tuple[int, str, str]]:
        """(due time, workflow id, run id) in order."""
        for key, _ in self.store.scan(keys.DUE, keys.DUE + keys.number(from_ms)):
            yield keys.parse_due(key)

    def failing(self) -> Iterator[tuple[str, str]]:
        """Runs whose code is blocked."""
        for key, _ in self.store.scan(keys.FAILING):
            yield keys.parse_failing(key)

    def unreleased(self) -> Iterator[tuple[int, CommitRecord]]:
        """Records whose effects may not all have left, in log order."""
        for key, value in self.store.scan(keys.UNRELEASED):
            if value[:1] == keys.RUNS:
                row = self.store.get(value)
                if row is None:
                    raise StoreDamaged(f"row {key!r} names row {value!r}, which is not there")
                yield keys.parse_offset(key), _commit(row[8:], value)
            else:
                yield keys.parse_offset(key), _commit(value[1:], key)


def unreleased_row(record: CommitRecord, offset: int, value: bytes, *, has_rows: bool) -> bytes:
    """The value of an `u` row: the key of the run's row that holds the record, or the record itself where no run's row does."""
    if has_rows:
        first = record.transitions[0]
        return keys.run_record(first.workflow_id, first.run_id, offset)
    return b"=" + value


def encode_checkpoint(time_ms: int, watermark: int) -> bytes:
    """A row of a checkpoint."""
    return keys.number(time_ms) + keys.number(watermark + 1)


def _history(value: bytes, key: bytes) -> HistoryRecord:
    try:
        return decode_history(value)
    except CodecError as error:
        raise StoreDamaged(f"row {key!r} is not a record: {error}") from error


def _commit(value: bytes, key: bytes) -> CommitRecord:
    record = _history(value, key)
    if not isinstance(record, CommitRecord):
        raise StoreDamaged(f"row {key!r} holds a {type(record).__name__}, not a commit record")
    return record


def _read(codec: RecordCodec[T], value: bytes, key: bytes) -> T:
    try:
        return codec.decode(value)
    except CodecError as error:
        raise StoreDamaged(f"row {key!r} cannot be read: {error}") from error
