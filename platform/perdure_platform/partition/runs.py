"""Runs in memory: states and suspended code, the least recently used dropped, absent ones rebuilt from their records (design.md 5).

Memory runs ahead of the log. A run with records in flight is neither evicted nor rebuilt; what is dropped loses nothing, because a
state is a fold of the run's records, and code is rebuilt by giving it the same activations again.

What an open run takes here, some 5 kB beside what its code keeps: its state with the first event and that one's input, what is open of
activities (with their inputs, for another attempt) and timers, and the events that the code has not seen; the workflow's object and its
suspended coroutines; and for each activity or timer that the code waits for, who waits. Results that were handed to the code, inputs that
are recorded, tasks that are done and the events of the past are not kept.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from itertools import islice

from perdure._replay.actions import Action
from perdure._replay.host import Activation, ActivationError, RunStart, WorkflowHost, WorkflowInstance
from perdure._telemetry import metrics, names
from perdure_platform.partition.transition.decide import ActivationDeferred
from perdure_platform.partition.transition.fold import fold_transition
from perdure_platform.partition.transition.sizes import payload_bytes
from perdure_platform.partition.transition.state import RunState
from perdure_platform.store.port import StoreDamaged
from perdure_platform.store.tables import Tables
from perdure_schemas import events
from perdure_schemas.errors import LogCorrupt
from perdure_schemas.events import Event
from perdure_schemas.notes import RunResumed

CLOSED_MAX = 64
"""A number of workflow ids whose run has closed, or that never had one. They are kept for a moment beyond the bound of those that can go
on: a client may ask once more, and an attempt that lost may report."""


@dataclass(slots=True)
class Entry:
    """The current run of a workflow id, as far as it is decided. `state` is None where the id has never had a run."""

    state: RunState | None
    instance: WorkflowInstance | None = None
    instance_run_id: str = ""
    in_flight: int = 0

    @property
    def is_open(self) -> bool:
        """Whether the run can go on."""
        return self.state is not None and self.state.is_open


class Runs:
    """The runs of one partition. `open_max` bounds the states and suspended code of runs that can go on; those in flight come on top."""

    def __init__(self, store_tables: Tables, host: WorkflowHost, namespace: str, open_max: int) -> None:
        self._tables = store_tables
        self._host = host
        self._namespace = namespace
        self._open_max = open_max
        self._open_runs: OrderedDict[str, Entry] = OrderedDict()
        self._closed_runs: OrderedDict[str, Entry] = OrderedDict()
        self._about = {names.LOG_NAMESPACE: namespace}
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        """Runs in memory that can go on."""
        return len(self._open_runs)

    # -- states

    def entry(self, workflow_id: str) -> Entry:
        """The workflow id's entry, read from the store if it is not here."""
        entry = self._open_runs.get(workflow_id)
        if entry is not None:
            self._open_runs.move_to_end(workflow_id)
        elif (entry := self._closed_runs.get(workflow_id)) is not None:
            self._closed_runs.move_to_end(workflow_id)
        else:
            self.misses += 1
            run_id = self._tables.current_run(workflow_id)
            entry = Entry(None if run_id is None else self.load(workflow_id, run_id))
            (self._open_runs if entry.is_open else self._closed_runs)[workflow_id] = entry
            return entry
        self.hits += 1
        return entry

    def put(self, workflow_id: str, state: RunState) -> None:
        """A decision or a fold has brought the id's current run this far."""
        entry = self.entry(workflow_id)
        was_open, entry.state = entry.is_open, state
        if was_open != state.is_open:
            left, joined = (self._open_runs, self._closed_runs) if was_open else (self._closed_runs, self._open_runs)
            joined[workflow_id] = left.pop(workflow_id)
        if entry.instance is not None and (not state.is_open or entry.instance_run_id != state.run_id):
            self._drop_instance(entry)

    def _known(self, workflow_id: str) -> Entry | None:
        return self._open_runs.get(workflow_id) or self._closed_runs.get(workflow_id)

    def find(self, workflow_id: str, run_id: str) -> RunState | None:
        """A run's state: the current one as decided, or an earlier one as stored."""
        current = self.entry(workflow_id).state
        if current is not None and (not run_id or current.run_id == run_id):
            return current
        return self.load(workflow_id, run_id) if run_id else None

    def load(self, workflow_id: str, run_id: str) -> RunState | None:
        """Fold a run from its stored records."""
        state: RunState | None = None
        for stored in self._tables.transitions(workflow_id, run_id):
            state = fold_transition(state, stored.transition, stored.time_ms)
        return state

    def scheduled(self, workflow_id: str, run_id: str, event_id: int) -> tuple[events.ActivityTaskScheduled, int] | None:
        """An activity's scheduling event and its time, from the state if the activity is open, else from the records."""
        entry = self._known(workflow_id)
        if entry is not None and entry.state is not None and entry.state.run_id == run_id and event_id in entry.state.activities:
            activity = entry.state.activities[event_id]
            return activity.event, activity.scheduled_time_ms
        for stored in self._tables.transitions(workflow_id, run_id):
            at = event_id - stored.transition.first_event_id
            both = (*stored.transition.inbound, *stored.transition.produced)
            if 0 <= at < len(both):
                event = both[at]
                return (event, stored.time_ms) if isinstance(event, events.ActivityTaskScheduled) else None
        return None

    def run(self, workflow_id: str, run_id: str) -> RunState | None:
        """As `effects.Runs` asks for it."""
        return self.find(workflow_id, run_id)

    def forget(self, workflow_id: str) -> None:
        """Read the id from the store when it is asked for again; what the store has of it has changed otherwise than by a transition."""
        entry = self._open_runs.pop(workflow_id, None) or self._closed_runs.pop(workflow_id, None)
        if entry is not None:
            self._drop_instance(entry)

    # -- in flight

    def sent(self, workflow_id: str) -> None:
        """A record of this id is on its way."""
        self.entry(workflow_id).in_flight += 1

    def confirmed(self, workflow_id: str) -> None:
        """A record of this id is in the log and in the store."""
        entry = self._known(workflow_id)
        assert entry is not None, "an entry with records in flight stays"
        entry.in_flight -= 1

    def trim(self) -> None:
        """Drop what is above the bounds, least recently used first."""
        for entries, count_max in ((self._open_runs, self._open_max), (self._closed_runs, min(CLOSED_MAX, self._open_max))):
            excess = len(entries) - count_max
            if excess <= 0:
                continue
            idle = (workflow_id for workflow_id, entry in entries.items() if not entry.in_flight)
            for workflow_id in list(islice(idle, excess)):
                self._drop_instance(entries.pop(workflow_id))

    def close(self) -> None:
        """Drop everything."""
        for entries in (self._open_runs, self._closed_runs):
            for entry in entries.values():
                self._drop_instance(entry)
            entries.clear()

    # -- code

    def activate(self, run: RunState, activation: Activation) -> tuple[tuple[Action, ...], tuple[int, ...]]:
        """Run the code of the current run once. Raises ActivationError, ActivationDeferred."""
        entry = self.entry(run.workflow_id)
        instance = self.instance(entry, run)
        started = time.perf_counter()
        try:
            activated = instance.activate(activation)
        except ActivationError:
            self._drop_instance(entry)
            raise
        finally:
            metrics.ACTIVATION_TIME_MS.record((time.perf_counter() - started) * 1000, self._about)
        return activated.actions, activated.flags

    def discard(self, workflow_id: str) -> None:
        """Drop the id's suspended code; it went further than what was recorded."""
        entry = self._known(workflow_id)
        if entry is not None:
            self._drop_instance(entry)

    def instance(self, entry: Entry, run: RunState) -> WorkflowInstance:
        """The code of `run`, suspended behind its last recorded activation. Raises ActivationError, ActivationDeferred."""
        if entry.instance is not None and entry.instance_run_id == run.run_id:
            return entry.instance
        if run.activations == 0:
            instance = self._open(run, ())
        elif entry.in_flight:
            raise ActivationDeferred
        else:
            instance = self.rebuild(run)
        self._drop_instance(entry)
        entry.instance, entry.instance_run_id = instance, run.run_id
        return instance

    def rebuild(self, run: RunState) -> WorkflowInstance:
        """Give the code every activation that the run's stored records hold. Raises ActivationError."""
        instance = self._open(run, run.flags)
        waiting: list[tuple[int, Event]] = []
        size_bytes = activations = 0
        try:
            for stored in self._tables.transitions(run.workflow_id, run.run_id):
                transition = stored.transition
                waiting.extend(enumerate(transition.inbound, transition.first_event_id))
                for note in transition.notes:
                    if isinstance(note, RunResumed) and note.skipped_event_ids:
                        waiting = [one for one in waiting if one[0] not in note.skipped_event_ids]
                if transition.activated:
                    first_produced = transition.first_event_id + len(transition.inbound)
                    instance.activate(
                        Activation(stored.time_ms, tuple(waiting), first_produced, transition.produced, history_size_bytes=size_bytes)
                    )
                    waiting.clear()
                    activations += 1
                size_bytes += payload_bytes(transition.inbound) + payload_bytes(transition.produced)
        except ActivationError:
            instance.close()
            raise
        if activations != run.activations:
            instance.close()
            raise StoreDamaged(
                f"workflow {run.workflow_id!r}, run {run.run_id}, has been activated {run.activations} times, "
                f"and the store shows {activations} of them"
            )
        return instance

    def _open(self, run: RunState, flags: tuple[int, ...]) -> WorkflowInstance:
        if run.next_event_id == 1:
            raise LogCorrupt(f"workflow {run.workflow_id!r}, run {run.run_id}, has no first event")
        return self._host.open(RunStart(self._namespace, run.workflow_id, run.run_id, run.start_time_ms, run.started), flags)

    @staticmethod
    def _drop_instance(entry: Entry) -> None:
        if entry.instance is not None:
            entry.instance.close()
            entry.instance = None
