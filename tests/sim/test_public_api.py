"""Whatever is asked of a namespace through its public API, in whatever order and under whatever faults: what a client is told is what a
model of a few lines says. Owners, workers and the client itself are the product's own; they are killed, paused, robbed and told wrong.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from kit.decoding import decoded_once
from kit.real_client import CALL_TIMEOUT, Asking
from kit.real_world import RealWorld
from kit.slow_medium import Fate
from kit.world import LIMITS
from perdure._log.memory.medium import Append
from perdure.client import WorkflowExecutionStatus
from perdure.common import WorkflowIDReusePolicy
from perdure.service import RPCError, RPCStatusCode
from perdure_platform.store.memory import MemoryStores

OWNERS = ("owner-1", "owner-2")
CLIENT, WORKER = "client", "worker"
IDS = ("a", "b", "c")
EXAMPLES = int(os.environ.get("PERDURE_API_EXAMPLES", "60"))
STEPS_MAX = 2_000
PATIENCE_STEPS = 40
"""So long a fault lasts, if a call waits for its end."""

FATES = (Fate.LATE, Fate.LOST, Fate.UNTOLD, Fate.TWICE, Fate.TOLD_LATE, Fate.FAILED_LATE, Fate.STALLED)
ids = st.sampled_from(IDS)
TROUBLES = (
    *(f"spoil {fate.name}" for fate in FATES),
    *(f"{kind} {name}" for kind in ("pause", "resume") for name in (*OWNERS, WORKER)),
    *(f"kill {name}" for name in (*OWNERS, CLIENT, WORKER)),
    *(f"rob {name}" for name in OWNERS),
    *(f"tell {told}" for told in (*OWNERS, "+".join(OWNERS))),
)
"""A fate for the next append, whoever makes it; or something that happens to a process, or what owners are told, rightly or not."""

RUNNING, COMPLETED, CANCELED, TERMINATED = (
    WorkflowExecutionStatus.RUNNING,
    WorkflowExecutionStatus.COMPLETED,
    WorkflowExecutionStatus.CANCELED,
    WorkflowExecutionStatus.TERMINATED,
)


@dataclass
class Modelled:
    """What is known of a workflow id."""

    status: WorkflowExecutionStatus = RUNNING
    numbers: list[int] = field(default_factory=list)


@dataclass
class Call:
    """A call of the client; it makes it again under the same request id, should it be killed meanwhile."""

    make: Callable[[Asking], Awaitable[Any]]
    number: int
    outcome: Any = None
    is_done: bool = False


class PublicApi(RuleBasedStateMachine):
    """One namespace, and beside it what a client may believe of it."""

    @initialize(partitions=st.sampled_from((1, 2, 3)), records_max=st.sampled_from((500, 1)), cached=st.sampled_from((2_000, 0)))
    def begin(self, partitions: int, records_max: int, cached: int) -> None:
        self.model: dict[str, Modelled] = {}
        self.calls: list[Call] = []
        self.acts: list[tuple[Call, bool]] = []
        self.closing = False
        self.fates: list[Fate] = []
        self.coming: list[tuple[int, str]] = []
        self.steps = 0
        limits = replace(LIMITS, turn_records_max=records_max, cached_runs_max=cached, handover_ms=200, suspects_max=0)
        self.world = world = RealWorld(partitions=partitions, limits=limits, said={})
        world.medium.fate = self._fate
        world.medium.delay_ms = lambda what: 150
        self._heal()
        world.start_worker(WORKER)
        world.kept.add(WORKER)
        world.start_client(CLIENT, self._live)

    # -- what a client asks

    @rule(workflow_id=ids, policy=st.sampled_from((WorkflowIDReusePolicy.ALLOW_DUPLICATE, WorkflowIDReusePolicy.REJECT_DUPLICATE)))
    def start(self, workflow_id: str, policy: WorkflowIDReusePolicy) -> None:
        known = self.model.get(workflow_id)
        is_free = known is None or (known.status is not RUNNING and policy is WorkflowIDReusePolicy.ALLOW_DUPLICATE)
        self._acts(lambda ask: ask.start(workflow_id, "SimList", [], 0, False, id_reuse_policy=policy), is_free)
        if is_free:
            self.model[workflow_id] = Modelled()

    @rule(workflow_id=ids, number=st.integers(1, 9))
    def add(self, workflow_id: str, number: int) -> None:
        known = self.model.get(workflow_id)
        is_open = known is not None and known.status is RUNNING
        self._acts(lambda ask: ask.signal(workflow_id, "add", number), is_open)
        if known is not None and is_open:
            known.numbers.append(number)

    @precondition(lambda self: self._open())
    @rule(data=st.data(), numbers=st.lists(st.integers(10, 19), min_size=2, max_size=5))
    def add_together(self, data: st.DataObject, numbers: list[int]) -> None:
        """All at once: in which order they come is up to chance, but each comes once."""
        workflow_id = data.draw(st.sampled_from(self._open()))
        calls = []
        for number in numbers:
            calls.append(Call(lambda ask, number=number: ask.signal(workflow_id, "add", number), len(self.calls)))  # type: ignore[misc]
            self.calls.append(calls[-1])
        self._run_until(lambda: all(call.is_done for call in calls))
        assert all(call.outcome for call in calls)
        known, told = self.model[workflow_id], self._numbers(workflow_id)
        assert told[: len(known.numbers)] == known.numbers
        assert sorted(told[len(known.numbers) :]) == sorted(numbers)
        known.numbers = told

    @rule(workflow_id=ids)
    def ask(self, workflow_id: str) -> None:
        known = self.model.get(workflow_id)
        assert self._numbers(workflow_id) == (known.numbers if known is not None else None)

    def _numbers(self, workflow_id: str) -> Any:
        async def query(ask: Asking) -> Any:
            return await ask._read(lambda: ask.client.get_workflow_handle(workflow_id).query("so_far", rpc_timeout=CALL_TIMEOUT))

        return self._call(lambda ask: _or_not_found(query(ask)))

    @rule(workflow_id=ids)
    def look(self, workflow_id: str) -> None:
        async def describe(ask: Asking) -> Any:
            return (await ask._read(lambda: ask.client.get_workflow_handle(workflow_id).describe(rpc_timeout=CALL_TIMEOUT))).status

        known = self.model.get(workflow_id)
        assert self._call(lambda ask: _or_not_found(describe(ask))) == (known.status if known is not None else None)

    @rule()
    def list_open(self) -> None:
        async def find(ask: Asking) -> list[str]:
            async def collect() -> list[str]:
                return [one.id async for one in ask.client.list_workflows() if one.status is RUNNING]

            found: list[str] = await ask._read(collect)
            return sorted(found)

        assert self._call(find) == sorted(name for name, known in self.model.items() if known.status is RUNNING)

    @precondition(lambda self: self._open())
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self._end(data.draw(st.sampled_from(self._open())))

    def _end(self, workflow_id: str) -> None:
        self._acts(lambda ask: ask.signal(workflow_id, "end", 0), True)
        known = self.model[workflow_id]
        assert self._call(lambda ask: ask.result(workflow_id)) == known.numbers
        known.status = COMPLETED

    @rule(workflow_id=ids)
    def cancel(self, workflow_id: str) -> None:
        """Of a closed run it is accepted, and does nothing."""
        self._ends(workflow_id, lambda ask: ask.cancel(workflow_id), workflow_id in self.model, CANCELED, "CancelledError")

    @rule(workflow_id=ids)
    def terminate(self, workflow_id: str) -> None:
        self._ends(workflow_id, lambda ask: ask.terminate(workflow_id), workflow_id in self._open(), TERMINATED, "TerminatedError")

    def _ends(
        self, workflow_id: str, call: Callable[[Asking], Awaitable[bool]], accepted: bool, status: WorkflowExecutionStatus, error: str
    ) -> None:
        self._acts(call, accepted)
        known = self.model.get(workflow_id)
        if known is not None and known.status is RUNNING:
            assert self._call(lambda ask: ask.result(workflow_id)) == error
            known.status = status

    @precondition(lambda self: self.acts)
    @rule(data=st.data())
    def ask_for_something_again(self, data: st.DataObject) -> None:
        """Under its old request id, however late: it is told the same, and nothing is done twice."""
        call, outcome = data.draw(st.sampled_from(self.acts))
        assert self._made(Call(call.make, call.number)) == outcome

    # -- what happens meanwhile

    @rule(troubles=st.lists(st.tuples(st.integers(0, 20), st.sampled_from(TROUBLES)), min_size=1, max_size=5))
    def trouble_comes(self, troubles: list[tuple[int, str]]) -> None:
        """In so many steps: in the middle of what is asked then."""
        self.coming += [(self.steps + steps, trouble) for steps, trouble in troubles]

    def _happen(self, trouble: str) -> None:
        world = self.world
        kind, _, name = trouble.partition(" ")
        match kind:
            case "pause":
                world.paused.add(name)
            case "resume":
                world.paused.discard(name)
            case "kill" if name in world.actors:
                world.paused.discard(name)
                world.kill_actor(name)
            case "kill" | "rob" if name in world.processes:
                world.paused.discard(name)
                world.lose_process(5, name)
                if kind == "rob":
                    world.stores[name] = MemoryStores()
            case "tell":
                world.said = {partition: set(name.split("+")) for partition in range(world.partitions)}
            case "spoil":
                self.fates.append(Fate[name])

    @rule(steps=st.integers(1, 30), leap_ms=st.sampled_from((0, 0, 1_000, 20_000)))
    def wait(self, steps: int, leap_ms: int) -> None:
        self._step(steps)
        self.world.clock.ms += leap_ms
        self.world.ledger.disturb("time leaps")

    # -- the end

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            for workflow_id in self._open():
                self._end(workflow_id)
            self.coming.clear()
            self.fates.clear()
            self._heal()
            while self.world.medium.on_the_way:
                self._step()
            self.closing = True
            self.world.run_until_done()
            self.world.check()
            self.world.leave()
        finally:
            self.world.close()

    # -- how calls are made

    def _open(self) -> list[str]:
        return [name for name, known in self.model.items() if known.status is RUNNING]

    def _acts(self, make: Callable[[Asking], Awaitable[bool]], accepted: bool) -> None:
        call = Call(make, len(self.calls))
        self.acts.append((call, accepted))
        assert self._made(call) == accepted

    def _call(self, make: Callable[[Asking], Awaitable[Any]]) -> Any:
        return self._made(Call(make, len(self.calls)))

    def _made(self, call: Call) -> Any:
        self.calls.append(call)
        self._run_until(lambda: call.is_done)
        return call.outcome

    def _run_until(self, is_done: Callable[[], bool]) -> None:
        for step in range(STEPS_MAX):
            if is_done():
                return
            if step == PATIENCE_STEPS:
                self._heal()
            self._step()
        raise AssertionError(f"no outcome after {STEPS_MAX} steps: {self.world.what_is_open()}")

    async def _live(self, ask: Asking) -> None:
        tasks: dict[int, asyncio.Task[None]] = {}
        while not self.closing:
            for place, call in enumerate(self.calls):
                if not call.is_done and place not in tasks:
                    tasks[place] = asyncio.get_running_loop().create_task(self._make(ask, call))
            for task in tasks.values():
                if task.done():
                    task.result()
            await asyncio.sleep(0.01)

    async def _make(self, ask: Asking, call: Call) -> None:
        call.outcome = await call.make(ask.under(f"call-{call.number}/"))
        call.is_done = True

    def _step(self, steps: int = 1) -> None:
        for _ in range(steps):
            self.steps += 1
            for due in [one for one in self.coming if one[0] <= self.steps]:
                self.coming.remove(due)
                self._happen(due[1])
            self.world.medium.pass_time()
            self.world.go_on()

    def _heal(self) -> None:
        """Both owners are there, nobody is paused, and each partition's leader is told so."""
        world = self.world
        world.paused.clear()
        for name in OWNERS:
            if name not in world.processes:
                world.start(name=name)
        world.said = {partition: {OWNERS[partition % 2]} for partition in range(world.partitions)}

    def _fate(self, append: Append) -> Fate:
        if not self.fates:
            return Fate.LANDS
        fate = self.fates.pop()
        self.world.ledger.disturb(f"{append.topic} append {fate.name.lower()}")
        return fate


async def _or_not_found(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return None


def test_what_a_client_is_told_is_what_a_small_model_says() -> None:
    with decoded_once():
        run_state_machine_as_test(
            PublicApi,
            settings=settings(max_examples=EXAMPLES, stateful_step_count=30, derandomize=True, suppress_health_check=list(HealthCheck)),
        )
