"""The owner's limits, each derived one with its reason beside it."""

from __future__ import annotations

from dataclasses import dataclass

from perdure_schemas.limits import COMMIT_RECORD_BYTES_MAX


@dataclass(frozen=True, slots=True)
class OwnerLimits:
    """What one partition owner allows itself. Times in milliseconds."""

    turn_records_max: int = 500
    """Records taken from the log in one turn; more make larger batches and a longer turn."""

    turn_code_ms_max: int = 2_000
    """After so long a turn runs no more code: what waits is recorded, and activated in the next one. A turn may last this long and the
    watchdog's patience; whoever turns more slowly than a session lasts loses its partitions."""

    activation_inputs_max: int = 500
    """Commands that one activation sees at once; the rest goes into the next record of the same turn."""

    activation_input_bytes_max: int = 4 * 1024 * 1024
    """The same in bytes."""

    in_flight_records_max: int = 2_000
    """Appended and not yet read back; above it the owner takes no commands."""

    in_flight_bytes_max: int = 64 * 1024 * 1024
    """The same in bytes."""

    unsent_effects_max: int = 10_000
    """Effects that wait for their producer; above it the owner takes no commands."""

    unreleased_records_max: int = 100_000
    """Nor while so many records of its partition wait for an effect that is not delivered, their own or an older one's."""

    cached_runs_max: int = 2_000
    """Runs kept in memory, per partition."""

    due_runs_max: int = 10_000
    """Deadlines kept in memory, per partition; later ones stay in the store until it is their turn."""

    idle_position_ms: int = 1_000
    """After this long without an append, what moved since is written as a position record (design.md 3.6)."""

    claim_backoff_first_ms: int = 100
    claim_backoff_max_ms: int = 10_000
    """Claiming again waits this long, doubled each time, with jitter (design.md 3.1); who has led for the longest wait begins anew."""

    clock_bound_ms: int = 60_000
    """An owner whose clock is further from the broker's does not lead (design.md 3.9)."""

    suspects_max: int = 1_000
    """Suspects behind a death, per partition: commands, and runs that were due (faults.md R14); 0 switches isolation off. A dead owner
    may have had more in its hands, but those of its last turn come next to the watermark, and each owner raises it."""

    strikes_max: int = 3
    """An input under whose strike so many owners have ended is not tried again: its run is parked, or the command becomes a dead letter."""

    retention_ms: int = 0
    """Closed runs, and the records that nothing else needs, are dropped after this long; 0 keeps everything (design.md 3.8)."""

    checkpoint_interval_ms: int = 3_600_000
    """Between two checkpoints, at which a trimmed log may begin; at most this much more than the retention is kept."""

    format_level: int = 1
    """What each partition records that its owners must read; older builds do not claim it any more (R15). Nothing may be written in a
    newer format before every partition has recorded its level."""

    store_memory_bytes: int = 128 * 1024 * 1024
    """What the RocksDB stores of a process hold in memory: half for writes that are not on disk yet, half for blocks that were read."""

    handover_ms: int = 10_000
    """How long a partition is given to settle what is in flight before it is handed over."""


DEFAULT_LIMITS = OwnerLimits()

SESSION_TIMEOUT_MS = 10_000
"""An owner that has not been heard of for this long has lost its partitions; others take them."""

assert DEFAULT_LIMITS.activation_input_bytes_max < COMMIT_RECORD_BYTES_MAX, "inputs of one activation must fit in its record"
