"""The simulated namespace with the product's own clients and activity workers in place of scripts.

Owners are as in `kit.world`. A client process runs a script of real calls, and begins it again, under the same request ids, if it was
killed; a worker process runs `perdure.worker.Worker` with the activities of `kit.real_activities`. When nothing happens, time runs faster.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

from kit.ports import Crash
from kit.promises import Asked
from kit.real_activities import Activities, Ledger
from kit.real_client import QUEUE, Asking
from kit.sim_process import Dying, SimProcess
from kit.world import NAMESPACE, SESSION_MS, STEP_MS, ProcessLog, World
from perdure._channel import Channel
from perdure._log.errors import LogUnavailable
from perdure._log.port import Record
from perdure.client import Client
from perdure.client._connection import Connection
from perdure.client._requests import Requests
from perdure.converter import DataConverter
from perdure.worker import Worker
from perdure_schemas import codec, notes
from perdure_schemas.commands import CancelWorkflow, SignalWorkflow, StartWorkflow, TerminateWorkflow
from perdure_schemas.history import CommitRecord
from perdure_schemas.payload import Payloads
from perdure_schemas.replies import (
    Accepted,
    ActivityAttention,
    ActivityStartAcknowledged,
    Refused,
    ReplyBody,
    WorkflowBlocked,
    WorkflowClosed,
)

IDLE_STEP_MAX_MS = 500
_ACTS = (StartWorkflow, SignalWorkflow, CancelWorkflow, TerminateWorkflow)

Script = Callable[[Asking], Awaitable[None]]


@dataclass
class RealWorld(World):
    """`chance` is what actors draw from: 0.5 always, or a schedule's."""

    chance: Callable[[], float] = lambda: 0.5
    slots: int = 4
    actors: dict[str, SimProcess] = field(default_factory=dict)
    workers_running: dict[str, Worker] = field(default_factory=dict)
    scripts: dict[str, Script] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    """Workers that are started again whenever they are gone."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.medium.watch = self._see
        self.ledger = Ledger(self.clock)
        self.told_deposits: dict[str, int] = defaultdict(int)
        self._names = itertools.count(1)
        self._landed_before = 0
        self._idle_ms = 0
        self._held: dict[int, str] = {}
        self._heartbeats: dict[tuple[str, int], Payloads] = {}

    # -- processes

    def start_worker(self, name: str, calls: Dying | None = None) -> SimProcess:
        """Start an activity worker of the queue."""
        process = self._process(name, calls)
        self.ledger.disturb(f"{name} comes")
        process.begin(self._work(process))
        return process

    def start_client(self, name: str, script: Script, calls: Dying | None = None) -> SimProcess:
        """Start a client that does what the script says; if it dies, the world begins it again."""
        process = self._process(name, calls)
        self.scripts[name] = script
        process.begin(self._ask(process, script))
        return process

    def kill_actor(self, name: str) -> None:
        """SIGKILL to a client or a worker."""
        process = self.actors.pop(name)
        process.kill()
        self.workers_running.pop(name, None)
        self.ledger.disturb(f"{name} is killed")

    def close(self) -> None:
        """End all actors, so that nothing of them is left behind."""
        for name in list(self.actors):
            self.kill_actor(name)

    def _process(self, name: str, calls: Dying | None) -> SimProcess:
        assert name not in self.actors, f"{name} runs already"
        own = ProcessLog(self.medium)
        process = SimProcess(name, self.clock, own, calls or Dying(), self.chance, lambda: f"{name}-{next(self._names)}")
        self.actors[name] = process
        return process

    async def _connect(self, process: SimProcess) -> Client:
        while True:
            try:
                channel = await Channel.open(process.log, NAMESPACE, machine=process.machine)
            except LogUnavailable:
                await asyncio.sleep(0.2)
            else:
                return Client(Connection(channel, Requests(channel), process.name, DataConverter.default))

    async def _work(self, process: SimProcess) -> None:
        client = await self._connect(process)
        activities = Activities(self.ledger, process.name, lambda: process.is_dead).all()
        worker = Worker(
            client,
            task_queue=QUEUE,
            activities=activities,
            max_concurrent_activities=self.slots,
            session_timeout=timedelta(milliseconds=SESSION_MS),
        )
        self.workers_running[process.name] = worker
        try:
            await worker.run()
        finally:
            if not process.is_dead:
                self.ledger.disturb(f"{process.name} leaves")
        await client.close()

    async def _ask(self, process: SimProcess, script: Script) -> None:
        client = await self._connect(process)
        await script(Asking(self, client))
        if not process.is_dead:
            self.done.add(process.name)
        await client.close()

    # -- running

    def clients(self) -> None:
        """Clients begin, do something, end."""
        for name, script in self.scripts.items():
            if name not in self.actors and name not in self.done:
                self.start_client(name, script)
        self._turn(lambda name: name in self.scripts)

    def workers(self) -> None:
        """Workers do something."""
        for name in sorted(self.kept - self.actors.keys()):
            self.start_worker(name)
        self._turn(lambda name: name not in self.scripts)

    def _turn(self, is_meant: Callable[[str], bool]) -> None:
        for name in [name for name in self.actors if is_meant(name) and name not in self.paused]:
            self.turn_actor(name)

    def turn_actor(self, name: str) -> None:
        """A client or worker does something, and perhaps ends. Crash passes through, once it is dead."""
        process = self.actors.get(name)
        if process is None:
            return
        if self.clock.ms - process.turned_ms >= SESSION_MS // 2:
            self.ledger.disturb(f"{name} was slow")
        process.turned_ms = self.clock.ms
        try:
            process.turn()
        except Crash:
            if self.actors.get(name) is process:
                self.kill_actor(name)
            else:
                process.kill()
            raise
        finally:
            self._notice_moves()
        assert not process.errors, process.errors
        if process.main is not None and process.main.done():
            process.main.result()
            if all(thread.is_over for thread in process.threads):
                self.actors.pop(name)
                self.workers_running.pop(name, None)
                process.kill()

    def step(self) -> None:
        super().step()
        landed = self.medium.landed.total()
        self._idle_ms = 0 if landed != self._landed_before else min(IDLE_STEP_MAX_MS, 2 * self._idle_ms + STEP_MS)
        self._landed_before = landed
        due_ms = min([process.next_due_ms() for process in self.actors.values()], default=float("inf"))
        self.clock.ms += max(0, math.ceil(min(self._idle_ms, due_ms - self.clock.ms)))

    def go_on(self) -> None:
        self.step()

    def is_done(self) -> bool:
        return self.scripts.keys() <= self.done and super().is_done()

    def what_is_open(self) -> list[str]:
        return [*super().what_is_open(), *(f"script of {name}" for name in self.scripts if name not in self.done), *self._uncommitted()]

    def _notice_moves(self) -> None:
        """Partitions of the queue that change hands: their tasks may come again."""
        held = next((dict(group.held) for name, group in self.medium.groups.items() if QUEUE in name), {})
        if held != self._held:
            self.ledger.disturb(f"partitions move from {self._held} to {held}")
            self._held = held

    def _uncommitted(self) -> list[str]:
        """Partitions of the queue whose end is not committed, although a worker is there."""
        topic = f"{NAMESPACE}.tasks.{QUEUE}"
        if not self.workers_running or topic not in self.medium.names(topic):
            return []
        committed = next((group.committed for name, group in self.medium.groups.items() if QUEUE in name), {})
        ends = {p: self.medium.bounds(topic, p)[1] for p in range(self.medium.describe([topic])[topic].partitions)}
        return [f"tasks of partition {p}: {committed.get(p, 0)} of {end} committed" for p, end in ends.items() if committed.get(p, 0) < end]

    def leave(self, steps_max: int = 500) -> None:
        """Workers are told to shut down, and do."""
        self.kept.clear()
        for name, worker in self.workers_running.items():
            self.actors[name].loop.create_task(worker.shutdown())
        for _ in range(steps_max):
            if not self.actors:
                return
            with contextlib.suppress(Crash):  # then, too, it has left
                self.step()
        raise AssertionError(f"{sorted(self.actors)} did not end in {steps_max} steps")

    def check(self) -> None:
        super().check()
        self.ledger.check()
        if self.ledger.repeated():
            self.promises.seen["executed again"] += 1

    # -- what is seen

    def was_told(self, request_id: str, accepted: bool) -> None:
        """P1: what a client is told is in the log, and what it is told is what the log says."""
        outcome = self.promises.settled.get(request_id)
        assert outcome is not None, f"P1: the client was told of {request_id}, which is not in the log"
        assert isinstance(outcome, Refused) != accepted, f"P1: told that {request_id} was accepted: {accepted}; log: {outcome}"
        asked = self.asked[request_id]
        if asked.answer is not None:
            return
        asked.answer = outcome
        if isinstance(asked.command.body, SignalWorkflow) and asked.command.body.name == "deposit" and isinstance(outcome, Accepted):
            self.told_deposits[asked.command.workflow_id] += 1

    def _see(self, record: Record) -> None:
        kind = record.topic.split(".")[1]
        if kind == "commands":
            command = codec.decode_command(record.value)
            if command.request is not None and isinstance(command.body, _ACTS) and command.origin is None:
                self.asked.setdefault(command.request.request_id, Asked(command, record.timestamp_ms))
        elif kind == "tasks":
            task = codec.decode_task(record.value)
            attempt = (task.run_id, task.activity_id, task.attempt)
            if attempt in self.ledger.dispatched_ms:
                self.ledger.disturb(f"{attempt} is sent again")
            self.ledger.dispatched_ms.setdefault(attempt, record.timestamp_ms)
            self.ledger.details[attempt] = [json.loads(payload.data) for payload in task.heartbeat_details]
            last = self._heartbeats.get((task.run_id, task.scheduled_event_id), ())
            assert task.attempt == 1 or task.heartbeat_details == last, f"heartbeat details: {task} and not {last}"
        elif kind == "replies" and not self._is_for_promises(codec.decode_reply(record.value).body):
            return
        live_before = len(self.promises.live)
        self.promises.watch(record)
        for _, _, history in self.promises.live[live_before:]:
            self._note(history)

    def _is_for_promises(self, body: ReplyBody) -> bool:
        """Not those of other conversations: with workers, and of a start that waits for its result."""
        if isinstance(body, ActivityStartAcknowledged):
            self.promises.seen["start acknowledged" if body.granted else "grant refused"] += 1
        elif isinstance(body, ActivityAttention):
            self.promises.seen["attempt not wanted" if body.not_found else "cancellation sent"] += 1
        return not isinstance(body, WorkflowClosed | WorkflowBlocked | ActivityStartAcknowledged | ActivityAttention)

    def _note(self, history: CommitRecord) -> None:
        for transition in history.transitions:
            for note in transition.notes:
                key = (transition.run_id, getattr(note, "scheduled_event_id", 0))
                if isinstance(note, notes.ActivityHeartbeatRecorded):
                    self._heartbeats[key] = note.details
                elif isinstance(note, notes.ActivityAttemptFailed) and note.last_heartbeat_details:
                    self._heartbeats[key] = note.last_heartbeat_details
