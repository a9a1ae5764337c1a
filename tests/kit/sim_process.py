"""One process of the simulation that has an event loop: a client or a worker, with the product's own steps for its threads.

Its time is the world's, its chance and names are the world's, and whatever it does happens when `turn` is called: each thread that is
due does one step, then the loop runs what is ready. The `turn`s of other processes, or of the rest of this one, may come in the middle
of a step, at any port call: that is how the world makes a thread or a process slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from kit.ports import Crash, Port, PortCalls
from perdure._machine import Machine, Step

_JOIN_STEPS = 20
"""How often a thread that somebody joins is stepped, before that one's patience ends: time stands still meanwhile."""
_LAST_TURNS = 50


class _NeverReady:
    """A selector of nothing, which does not wait."""

    def select(self, _timeout: float | None) -> list[Any]:
        return []

    def close(self) -> None:
        pass


class SimLoop(asyncio.BaseEventLoop):
    """An event loop whose time is `now_ms` and which runs only when told. What threads of a pool would do is done at once."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        super().__init__()
        self._now_ms = now_ms
        self._selector = _NeverReady()

    def time(self) -> float:
        return self._now_ms() / 1000

    def turn(self) -> None:
        """Run what is ready, and timers that are due, once; also while another loop runs, which stands still meanwhile."""
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        try:
            self.stop()
            self.run_forever()
        finally:
            asyncio._set_running_loop(outer)

    def next_timer_ms(self) -> float:
        """When the first timer is due; infinite where there is none. Cancelled ones count."""
        return self._scheduled[0].when() * 1000 if self._scheduled else float("inf")  # type: ignore[attr-defined]

    def run_in_executor(self, _executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except BaseException as error:
            future.set_exception(error)
        return future

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


class SimThread:
    """A thread's step, done when the process says so."""

    def __init__(self, process: SimProcess, step: Step, name: str) -> None:
        self._process = process
        self._step = step
        self._is_started = False
        self._is_woken = False
        self.rest_until_ms = 0.0
        self.name = name
        self.is_in_step = False
        self.is_over = False

    def start(self) -> None:
        """See Repeated."""
        self._is_started = True

    def wake(self) -> None:
        """See Repeated."""
        self._is_woken = True

    def join(self, timeout_s: float) -> None:
        """See Repeated. Time stands still meanwhile."""
        for _ in range(_JOIN_STEPS):
            if not self._process.is_dead:
                self.step()

    def step(self) -> None:
        """One step, if there may be something to do and it is not in the middle of one. Crash passes through."""
        if not self._is_started or self.is_over or self.is_in_step:
            return
        if not self._is_woken and self.rest_until_ms > self._process.now_ms():
            return
        self.is_in_step, self._is_woken = True, False
        try:
            rest_s = self._step()
        finally:
            self.is_in_step = False
        self.is_over = rest_s is None
        self.rest_until_ms = self._process.now_ms() + 1000 * (rest_s or 0.0)


class Dying(PortCalls):
    """The port calls of a process that may die: from then on, none of its calls reaches anything. `around` hears of each call."""

    def __init__(self, at: int = 0, **keywords: Any) -> None:
        super().__init__(at, **keywords)
        self.is_dead = False
        self.around: Callable[[], None] = lambda: None

    def __call__(self, name: str, call: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        if self.is_dead:
            raise Crash(name)
        self.around()
        try:
            outcome = super().__call__(name, call, *arguments, **keywords)
        except Crash:
            self.is_dead = True
            raise
        self.around()
        if self.is_dead:  # it died in another thread meanwhile
            raise Crash(name)
        return outcome


class SimProcess:
    """A process. `log` is its connection, every call of which `calls` knows; `main` is what it does, and ends with it."""

    def __init__(
        self, name: str, now_ms: Callable[[], int], log: Any, calls: Dying, chance: Callable[[], float], new_id: Callable[[], str]
    ) -> None:
        self.name = name
        self.now_ms = now_ms
        self.calls = calls
        self.own_log = log
        self.log: Any = Port(log, calls, "log")
        self.loop = SimLoop(now_ms)
        self.loop.set_exception_handler(self._on_loop_error)
        self._chance = chance
        self._new_id = new_id
        self.machine = Machine(self.loop.time, self._take_chance, self._take_id, self._repeat)
        self.threads: list[SimThread] = []
        self.errors: list[str] = []
        self.order: Callable[[list[Callable[[], None]]], list[Callable[[], None]]] = lambda parts: parts
        """In which order threads and loop come; a schedule makes it a matter of chance."""
        self.main: asyncio.Task[Any] | None = None
        self.turned_ms = now_ms()

    @property
    def is_dead(self) -> bool:
        """Whether it has crashed or was killed."""
        return self.calls.is_dead

    def begin(self, main: Coroutine[Any, Any, Any]) -> None:
        """What the process does."""
        self.main = self.loop.create_task(main)

    def turn(self) -> None:
        """Every part of it once, but for those that are in the middle of a step. Crash passes through."""
        for part in self.order([*(thread.step for thread in self.threads), self._turn_loop]):
            part()
            if self.is_dead:
                raise Crash(self.name)

    def next_due_ms(self) -> float:
        """When it has something to do, if nothing happens before."""
        rests = [thread.rest_until_ms for thread in self.threads if thread.rest_until_ms > self.now_ms()]
        return min([self.loop.next_timer_ms(), *rests])

    def kill(self) -> None:
        """SIGKILL: what its tasks would still do on their way out reaches nobody."""
        self.calls.is_dead = True
        if self.loop.is_closed() or self.loop.is_running():  # who runs it calls again, on the way out
            return
        for _ in range(_LAST_TURNS):
            tasks = asyncio.all_tasks(self.loop)
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            self.loop.turn()
        if self.main is not None and not self.main.cancelled():
            self.main.exception()
        self.loop.close()

    def _turn_loop(self) -> None:
        if not self.loop.is_running():
            self.loop.turn()

    def _take_chance(self) -> float:
        return 0.5 if self.is_dead else self._chance()  # the dead take nothing from the living: tasks end in any order

    def _take_id(self) -> str:
        return "nobody" if self.is_dead else self._new_id()

    def _repeat(self, step: Step, name: str) -> SimThread:
        self.threads.append(SimThread(self, step, name))
        return self.threads[-1]

    def _on_loop_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An error that nobody would hear of is a defect, unless it is one of dying."""
        if not self.is_dead:
            error = context.get("exception")
            self.errors.append(f"{self.name}: {context['message']}: {error!r}")
