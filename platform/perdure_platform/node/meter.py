"""What dashboards see of a partition that is led (design.md 9): read from its parts behind each turn, so that no stage counts anything.

A turn records a handful of values at most, whatever it took. Gauges are read by the exporter's thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from perdure._log.errors import LogError
from perdure._log.port import Log, Record
from perdure._telemetry import metrics, names
from perdure_platform.partition.confirm import Sent
from perdure_platform.partition.owner import PartitionOwner
from perdure_platform.partition.rebuild import Topics
from perdure_platform.partition.runs import Runs
from perdure_schemas.history import CommitRecord
from perdure_schemas.topics import commands_topic

_ENDS_TIMEOUT_MS = 2_000


class PartitionMeter:
    """Measures one owner's turns until it is closed. `settled` tells the watermark of what is confirmed, `now_ms` partition time."""

    def __init__(
        self, owner: PartitionOwner, topics: Topics, runs: Runs, log: Log, now_ms: Callable[[], int], settled: Callable[[], int]
    ) -> None:
        self._owner, self._runs, self._log = owner, runs, log
        self._now_ms, self._settled = now_ms, settled
        self._commands = (commands_topic(topics.namespace), topics.partition)
        self._about: metrics.Attributes = {names.LOG_NAMESPACE: topics.namespace, names.LOG_PARTITION: topics.partition}
        self._oldest: Sent | None = None
        self._arrived: deque[tuple[int, int]] = deque()
        self._hits, self._misses = runs.hits, runs.misses
        self._dead: dict[str, int] = {}
        self._stops = (
            metrics.LAG.read_from(self._lag),
            metrics.IN_FLIGHT.read_from(lambda: [(len(owner.confirmer.in_flight), self._about)]),
            metrics.CACHED_RUNS.read_from(lambda: [(len(runs), self._about)]),
        )

    def turned(self, commands: Sequence[Record]) -> None:
        """A turn is over that began with `commands`."""
        in_flight = self._owner.confirmer.in_flight
        oldest = in_flight[0] if in_flight else None
        if self._oldest is not None and self._oldest is not oldest and isinstance(self._oldest.record, CommitRecord):
            metrics.COMMIT_LATENCY_MS.record(max(0, self._now_ms() - self._oldest.record.time_ms), self._about)
        self._oldest = oldest
        if commands and in_flight:
            last = in_flight[-1].record
            if isinstance(last, CommitRecord) and last.watermark is not None and last.watermark >= commands[-1].offset:
                self._arrived.append((commands[-1].offset, commands[0].timestamp_ms))
        while self._arrived and self._arrived[0][0] <= self._settled():
            metrics.END_TO_END_DELAY_MS.record(max(0, self._now_ms() - self._arrived.popleft()[1]), self._about)
        self._count()

    def close(self) -> None:
        """The claim is over."""
        for stop in self._stops:
            stop()

    def _count(self) -> None:
        hits, misses = self._runs.hits, self._runs.misses
        if hits != self._hits:
            metrics.CACHE_LOOKUPS.add(hits - self._hits, {**self._about, names.HIT: True})
        if misses != self._misses:
            metrics.CACHE_LOOKUPS.add(misses - self._misses, {**self._about, names.HIT: False})
        self._hits, self._misses = hits, misses
        for cause, dead in self._owner.confirmer.dead.items():
            if dead != self._dead.get(cause, 0):
                metrics.DEAD_RECORDS.add(dead - self._dead.get(cause, 0), {**self._about, names.CAUSE: cause})
                self._dead[cause] = dead

    def _lag(self) -> list[metrics.Reading]:
        with suppress(LogError):  # then there is nothing to say
            end = self._log.end_offsets([self._commands], _ENDS_TIMEOUT_MS)[self._commands]
            return [(max(0, end - 1 - self._settled()), self._about)]
        return []
