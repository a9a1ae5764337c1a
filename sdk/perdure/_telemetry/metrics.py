"""The metrics of design.md 9. Recording one costs next to nothing until somebody sets up a meter provider.

Counters and histograms are written where something happens; a gauge asks its readers when it is exported:

    stop = LAG.read_from(lambda: [(end_offset - next_offset, {"partition": 3})])
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from perdure._telemetry import names

Attributes = Mapping[str, str | int | bool]
Reading = tuple[float, Attributes]

_MILLISECONDS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 60_000)
_meter = metrics.get_meter(names.INSTRUMENTATION)


class Gauge:
    """A value that is read when metrics are exported, from everybody who has one: several partitions share a gauge."""

    def __init__(self, name: str, unit: str, description: str) -> None:
        self._readers: dict[object, Callable[[], Iterable[Reading]]] = {}
        _meter.create_observable_gauge(name, [self._observe], unit, description)

    def read_from(self, reader: Callable[[], Iterable[Reading]]) -> Callable[[], None]:
        """Ask `reader`, from the exporter's thread, until the function that this returns is called."""
        key = object()
        self._readers[key] = reader
        return lambda: self._readers.pop(key, None) and None

    def _observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        for reader in list(self._readers.values()):
            for value, attributes in reader():
                yield Observation(value, attributes)


def _histogram_ms(name: str, description: str) -> metrics.Histogram:
    return _meter.create_histogram(name, "ms", description, explicit_bucket_boundaries_advisory=_MILLISECONDS)


COMMIT_LATENCY_MS = _histogram_ms(names.COMMIT_LATENCY, "From the append of a commit record until it was read back live")
ACTIVATION_TIME_MS = _histogram_ms(names.ACTIVATION_TIME, "Time that workflow code ran in one activation")
END_TO_END_DELAY_MS = _histogram_ms(names.END_TO_END_DELAY, "From the append of a command until the record that settles it was confirmed")

CACHE_LOOKUPS = _meter.create_counter(names.CACHE_LOOKUPS, "{lookup}", "Runs that were wanted; `hit` tells whether they were in memory")
DEAD_RECORDS = _meter.create_counter(names.DEAD_RECORDS, "{record}", "Records of history that do not count, by cause")
STRIKES = _meter.create_counter(names.STRIKES, "{strike}", "Inputs suspected of ending the process")

LAG = Gauge(names.LAG, "{record}", "Commands that are in the log and not settled")
IN_FLIGHT = Gauge(names.IN_FLIGHT, "{record}", "Records appended and not read back")
CACHED_RUNS = Gauge(names.CACHED_RUNS, "{run}", "Runs in memory")
QUEUE_DEPTH = Gauge(names.QUEUE_DEPTH, "{task}", "Activity tasks that a worker has taken and not finished")
