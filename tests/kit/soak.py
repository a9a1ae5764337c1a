"""`make soak MINUTES=n [LOG=kafka|sqlite] [SEED=n]`: two owners, two workers, load, a random fault every 15 seconds, then heal and check.

A quarter of the spells is quiet. From the second quarter on the second owner and the second worker are spared from what ends a process,
so that in the second half there are survivors whose caches have filled, and whose memory can be looked at. Prints what it does, and one
JSON report at the end; exit code 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from kit import raw
from kit.broker import Broker
from kit.namespace import Namespace, Process, kill
from kit.outside import record_death
from kit.proxy import Proxy
from kit.watch import Watched, disk_kb, slope

SPELL_S = 15.0
HEAL_S = 60.0
IN_FLIGHT = 100
PER_SECOND = 60.0
"""Enough for every cache to be full before the half whose memory is judged."""
RETENTION = "5m"
"""A load that is killed, or cut off for long, must still find what has ended meanwhile."""
MEMORY = {"PERDURE_STORE_MEMORY": "16M", "PERDURE_CACHED_RUNS": "200", "MALLOC_ARENA_MAX": "2"}
"""So little that it has filled before the half that is judged. With an arena for each of some forty threads, what was given back may stay
with the allocator."""
RESIDENT_KB_PER_MINUTE_MAX = 1024
DESCRIPTORS_PER_MINUTE_MAX = 0.5
JUDGED_FROM_MINUTES = 20.0
"""Shorter runs report slopes, and do not judge them: caches still fill."""

ROLES = ("owner-1", "owner-2", "worker-1", "worker-2", "load")


class Soak:
    """The processes, and what is done to them."""

    def __init__(self, namespace: Namespace, broker: Broker | None, seed: int) -> None:
        self.namespace = namespace
        self.broker = broker
        self.chance = random.Random(seed)
        self.doors = {role: Proxy(*door) for role, door in zip(ROLES[:4], broker.doors, strict=True)} if broker else {}
        self.processes: dict[str, Process] = {}
        self.watched: list[Watched] = []
        self.injected: Counter[str] = Counter()
        self.disk: list[tuple[float, int]] = []
        """Moment, and kB in the owners' stores."""
        self.spares = False
        self.begun_before = 0
        """No load that was killed has begun this item or one behind it; what it has begun runs on without it."""
        for role in ROLES:
            self.start(role)

    # -- processes

    def start(self, role: str) -> None:
        """Start the process of a role."""
        kind, door = role.split("-")[0], self.doors.get(role)
        if kind == "owner":
            process = self.namespace.owner(role, through=door, retention=RETENTION, more=MEMORY)
        elif kind == "worker":
            process = self.namespace.worker(through=door)
        else:
            done = self.namespace.done_numbers()
            first = next(number for number in range(len(done) + 1) if number not in done)
            self.begun_before = max(done, default=-1) + IN_FLIGHT + 1
            process = self.namespace.load(1_000_000_000, IN_FLIGHT, first=first, per_second=PER_SECOND)
        self.processes[role] = process
        self.watched.append(Watched(role, process.pid))

    def any(self, kind: str, *, lethal: bool = False) -> str:
        """A role of a kind; not a survivor where the fault ends processes."""
        number = "1" if lethal and self.spares else self.chance.choice("12")
        return f"{kind}-{number}"

    def look(self) -> None:
        """See to it that nobody died of his own, and take samples."""
        for role, process in self.processes.items():
            assert process.poll() is None, f"{role} ended by itself with {process.returncode}\n{self.namespace.said(process)[-4000:]}"
        for one in self.watched:
            one.look()
        self.disk.append((time.monotonic(), sum(disk_kb(self.namespace.directory / role) for role in ROLES)))

    def until(self, moment: float) -> None:
        """Wait, looking."""
        while (left := moment - time.monotonic()) > 0:
            self.look()
            time.sleep(min(left, 5.0))

    # -- faults

    def faults(self) -> list[Callable[[], str]]:
        """Those that this log has."""
        both = [self.kill_owner, self.kill_worker, self.kill_load, self.stop_owner, self.stop_worker, self.wipe, self.hand_over]
        if self.broker is None:
            return [*both, self.lock_file]
        return [*both, self.cut, self.hole, self.restart_broker, self.kill_broker, self.suspend_broker, self.copies, self.poison]

    def _again(self, role: str) -> str:
        kill(self.processes[role])
        if role.startswith("worker"):
            record_death(self.namespace.directory, role)
        self.start(role)
        return role

    def kill_owner(self) -> str:
        return self._again(self.any("owner", lethal=True))

    def kill_worker(self) -> str:
        return self._again(self.any("worker", lethal=True))

    def kill_load(self) -> str:
        return self._again("load")

    def _stop(self, role: str) -> str:
        seconds = self.chance.uniform(3, 20)
        self.processes[role].send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self.processes[role].send_signal(signal.SIGCONT)
        return f"{role} for {seconds:.0f} s"

    def stop_owner(self) -> str:
        return self._stop(self.any("owner"))

    def stop_worker(self) -> str:
        role = self.any("worker")
        record_death(self.namespace.directory, f"{role} stopped")
        return self._stop(role)

    def wipe(self) -> str:
        role = self.any("owner", lethal=True)
        kill(self.processes[role])
        shutil.rmtree(self.namespace.directory / role)
        self.start(role)
        return role

    def hand_over(self) -> str:
        role = self.any("owner", lethal=True)
        self.processes[role].terminate()
        assert self.processes[role].wait(60) == 0, self.namespace.said(self.processes[role])[-2000:]
        self.start(role)
        return role

    def lock_file(self) -> str:
        seconds = self.chance.uniform(2, 8)
        with closing(sqlite3.connect(self.namespace.directory / "perdure.db", isolation_level=None, timeout=60)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(seconds)
            connection.execute("ROLLBACK")
        return f"{seconds:.0f} s"

    def cut(self) -> str:
        role, seconds = self.chance.choice(ROLES[:4]), self.chance.uniform(2, 20)
        self._deaf(role)
        self.doors[role].cut()
        time.sleep(seconds)
        self.doors[role].heal()
        return f"{role} for {seconds:.0f} s"

    def hole(self) -> str:
        role, seconds = self.chance.choice(ROLES[:4]), self.chance.uniform(2, 14)
        self._deaf(role)
        self.doors[role].black_hole()
        time.sleep(seconds)
        self.doors[role].heal()
        return f"{role} for {seconds:.0f} s"

    def _deaf(self, role: str) -> None:
        """Executions of a worker that nobody hears of are made again."""
        if role.startswith("worker"):
            record_death(self.namespace.directory, f"{role} cut off")

    def restart_broker(self) -> str:
        assert self.broker is not None
        self.broker.restart()
        return ""

    def kill_broker(self) -> str:
        assert self.broker is not None
        self.broker.kill()
        time.sleep(self.chance.uniform(0, 5))
        self.broker.start()
        return ""

    def suspend_broker(self) -> str:
        assert self.broker is not None
        seconds = self.chance.uniform(2, 15)
        self.broker.suspend()
        time.sleep(seconds)
        self.broker.resume()
        return f"{seconds:.0f} s"

    def copies(self) -> str:
        partition = self.chance.randrange(4)
        newest = [record.value for record in raw.read(self.namespace, "history", partition)[-50:]]
        raw.append(self.namespace, "history", partition, newest)
        return f"{len(newest)} in partition {partition}"

    def poison(self) -> str:
        partition = self.chance.randrange(4)
        raw.append(self.namespace, "commands", partition, [self.chance.randbytes(self.chance.randrange(300)) for _ in range(20)])
        return f"partition {partition}"

    # -- the run

    def run(self, minutes: float) -> None:
        """Faults for so long."""
        began = time.monotonic()
        end = began + minutes * 60
        while time.monotonic() < end:
            spell_end = time.monotonic() + SPELL_S
            self.spares = self.spares or time.monotonic() > began + minutes * 15
            if self.chance.random() < 0.25:
                self.injected["quiet"] += 1
            else:
                fault = self.chance.choice(self.faults())
                before = self.namespace.done()
                what = fault()
                self.injected[fault.__name__] += 1
                say(
                    f"{(time.monotonic() - began) / 60:5.1f} min  {fault.__name__} {what}; {self.namespace.done() - before} items meanwhile"
                )
            self.until(min(spell_end, end))

    def finish(self) -> None:
        """Heal, let everything end, and check. Raises AssertionError."""
        for door in self.doors.values():
            door.heal()
        say(f"healing for {HEAL_S:.0f} s")
        self.until(time.monotonic() + HEAL_S)
        load = self.processes.pop("load")
        everything = set(range(self.begun_before))
        self.namespace.until(lambda: everything <= self.namespace.done_numbers(), "what loads before the last had begun", 240)
        load.terminate()
        self.namespace.until(lambda: load.poll() is not None, "the end of what had begun", 240)
        (last,) = [line for line in self.namespace.said(load).splitlines() if line.startswith("last ")]
        count = int(last.split()[1])
        missing = set(range(count)) - self.namespace.done_numbers()
        assert not missing, f"items {sorted(missing)[:20]} were begun and are not done"
        self.namespace.check(count)
        assert self.namespace.done() == count


def measured(soak: Soak, since_s: float) -> dict[str, object]:
    """Slopes over the second half, per minute."""
    until_s = max(one.samples[-1].at_s for one in soak.watched if one.samples)
    slopes = {f"{one.role} ({one.pid})": found for one in soak.watched if (found := one.slopes(since_s, until_s)) is not None}
    half = [(at, kb) for at, kb in soak.disk if at >= since_s]
    return {
        "per_minute": slopes,
        "more_of": {role: one.more_of(since_s) for one in soak.watched if (role := f"{one.role} ({one.pid})") in slopes},
        "resident_mb": {role: one.resident_mb() for one in soak.watched if (role := f"{one.role} ({one.pid})") in slopes},
        "disk_kb_per_minute": slope([(at - since_s) / 60 for at, _ in half], [float(kb) for _, kb in half]) if len(half) > 1 else None,
        "disk_kb": soak.disk[-1][1] if soak.disk else None,
    }


def grows(figures: dict[str, dict[str, float]]) -> list[str]:
    """What has a slope, in sentences."""
    bounds = {"resident_kb": RESIDENT_KB_PER_MINUTE_MAX, "descriptors": DESCRIPTORS_PER_MINUTE_MAX, "threads": DESCRIPTORS_PER_MINUTE_MAX}
    return [
        f"{role}: {what} grows by {found[what]} a minute"
        for role, found in figures.items()
        if not role.startswith("load")
        for what, bound in bounds.items()
        if found[what] > bound
    ]


def main() -> int:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--log", choices=["kafka", "sqlite"], default="kafka")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--report", type=Path, default=Path(".cache/soak.json"))
    parser.add_argument("--keep", action="store_true", help="leave the directory with all outputs and stores")
    arguments = parser.parse_args()
    say(f"seed {arguments.seed}")
    directory = Path(tempfile.mkdtemp(prefix="perdure-soak-"))
    settings = {"log.retention.check.interval.ms": "10000"}
    broker = Broker(settings, doors=4, is_for_long=True).start() if arguments.log == "kafka" else None
    namespace = Namespace(broker.bootstrap if broker else "", "soak", directory, "mixed")
    began, verdict, failure = time.monotonic(), "failed", ""
    soak: Soak | None = None
    try:
        if broker is not None:
            namespace.create(4)
            raw.alter(namespace, "history", segment_bytes=str(1024 * 1024))
        soak = Soak(namespace, broker, arguments.seed)
        namespace.until(lambda: namespace.done() > 0, "the first item")
        soak.run(arguments.minutes)
        soak.finish()
        verdict = "passed"
    except Exception as error:  # whatever it was belongs into the report
        failure = f"{type(error).__name__}: {error}"[:20_000]
        traceback.print_exc()
    finally:
        figures = measured(soak, began + arguments.minutes * 30) if soak is not None else {}
        namespace.stop()
        for door in soak.doors.values() if soak is not None else ():
            door.close()
        if broker is not None:
            broker.close()
    slopes: dict[str, dict[str, float]] = figures.get("per_minute", {})  # type: ignore[assignment]
    growing = grows(slopes)
    if verdict == "passed" and growing and arguments.minutes >= JUDGED_FROM_MINUTES:
        verdict, failure = "failed", "; ".join(growing)
    phases = namespace.told()
    report = {
        "verdict": verdict,
        "failure": failure,
        "log": arguments.log,
        "minutes": arguments.minutes,
        "seed": arguments.seed,
        "items": namespace.done(),
        "operations": dict(phases),
        "injected": dict(soak.injected) if soak is not None else {},
        "growing": growing,
        **figures,
    }
    arguments.report.parent.mkdir(parents=True, exist_ok=True)
    arguments.report.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2), flush=True)
    if verdict == "passed" and not arguments.keep:
        shutil.rmtree(directory, ignore_errors=True)
    else:
        say(f"everything is kept in {directory}")
    return 0 if verdict == "passed" else 1


def say(line: str) -> None:
    """Print at once."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
