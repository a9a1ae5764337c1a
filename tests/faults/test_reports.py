"""What workers report, and tasks: doubled, late, forged, for nobody, or waiting in a backlog (rows T2 X3 X4 X5)."""

import signal
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from kit import raw
from kit.core import data
from kit.namespace import Namespace, Namespaces, kill
from kit.row import Row
from kit.workloads import beats, ledger
from perdure._log.port import Record
from perdure_schemas.codec import decode_command, decode_task, encode_command
from perdure_schemas.commands import (
    ActivityHeartbeat,
    ActivityReference,
    ActivityStarted,
    CancelActivity,
    Command,
    CompleteActivity,
    FailActivity,
    ReplyAddress,
    SignalWorkflow,
)
from perdure_schemas.failure import Failure
from perdure_schemas.history import CommitRecord
from perdure_schemas.placement import partition_of
from perdure_schemas.tasks import ActivityTask

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]

PARTITIONS = 4
TASK_PARTITIONS = 4
BACKLOG = 1_500
"""Commands before the reports: more than one turn takes, or three."""
REPORTS = (ActivityStarted, ActivityHeartbeat, CompleteActivity, FailActivity, CancelActivity)
LIE = data("[-1, -1, -1]")


def tasks(namespace: Namespace) -> Iterator[tuple[Record, ActivityTask]]:
    """Everything on the task topic."""
    for partition in range(TASK_PARTITIONS):
        for record in raw.read(namespace, "tasks.work", partition):
            yield record, decode_task(record.value)


def forge(namespace: Namespace, commands: list[Command]) -> None:
    """Append commands that no client and no worker has sent, each where it belongs."""
    for partition in range(PARTITIONS):
        forged = [encode_command(command) for command in commands if partition_of(command.workflow_id, PARTITIONS) == partition]
        raw.append(namespace, "commands", partition, forged)


def executed(namespace: Namespace) -> int:
    return len(beats.executions(namespace.directory))


def announced(namespace: Namespace, partitions: int = PARTITIONS) -> int:
    """How many announcements the log holds: before its own, an attempt is the log's to deliver again, and no timeout runs."""
    records = [record for partition in range(partitions) for record in raw.read(namespace, "commands", partition)]
    return sum(isinstance(decode_command(record.value).body, ActivityStarted) for record in records)


@pytest.mark.parametrize("how", ["stands still", "is killed and comes back"])
def test_no_attempt_times_out_whose_report_waits_in_the_backlog(namespaces: Namespaces, row: Row, how: str) -> None:
    row.injects("T2", f"the owner {how} for 15 s while workers heartbeat and report, behind {BACKLOG} other commands")
    work = namespaces("beats", partitions=1)
    items = 40
    owner = work.owner()
    work.worker()
    load = work.load(items, items)
    work.until(lambda: announced(work, 1) == items, "all items at work")
    time.sleep(0.3)  # their starts are recorded, and their timeouts run
    if how == "stands still":
        owner.send_signal(signal.SIGSTOP)
    else:
        kill(owner)
    row.injected()
    nobody = Command("nobody", SignalWorkflow("nothing"))
    raw.append(work, "commands", 0, [encode_command(nobody)] * BACKLOG)
    behind = raw.ends(work, "commands")[0]
    time.sleep(15)
    waiting = [decode_command(record.value) for record in raw.read(work, "commands", 0) if record.offset >= behind]
    row.during = sum(isinstance(command.body, CompleteActivity | ActivityHeartbeat) for command in waiting)
    assert row.during >= items, "what was to wait in the backlog is not there"
    if how == "stands still":
        owner.send_signal(signal.SIGCONT)
    else:
        work.owner()
    work.finish(load, items)
    attempts = [execution.attempt for execution in beats.executions(work.directory)]
    assert attempts == [1] * items, f"an attempt timed out that had reported: {attempts}"


def test_every_report_and_every_task_comes_twice_and_later_again_and_changes_nothing(namespaces: Namespaces, row: Row) -> None:
    row.injects("X3", "copies of all reports, at once and again and again; copies of tasks, so that two workers have one attempt")
    work = namespaces("beats")
    items = 60
    work.owner()
    work.worker()
    work.worker()
    load = work.load(items, 10)
    work.until_done(3)
    seen: dict[tuple[str, int], int] = {}
    with row.fault(work):
        while load.poll() is None:
            doubled: list[Record] = []
            for partition in range(PARTITIONS):
                records = [
                    record
                    for record in raw.read(work, "commands", partition)
                    if isinstance(decode_command(record.value).body, REPORTS) and seen.get((record.topic, partition), -1) < record.offset
                ]
                doubled += records[-60:]
                seen[f"{work.name}.commands", partition] = raw.ends(work, "commands")[partition]
            raw.again(work, doubled)
            row.injected(len(doubled))
            if work.done() < items // 2:
                fresh = [record for record, _ in tasks(work)][-3:]
                raw.again(work, fresh)
                row.injected(len(fresh))
            time.sleep(0.5)
    work.finish(load, items)
    assert row.during > 0
    both = {(one.number, one.attempt) for one in beats.executions(work.directory)}
    row.figures["executed_twice"] = executed(work) - len(both)
    assert {attempt for _, attempt in both} == {1}, "a copy made an attempt time out"


def test_a_result_of_an_attempt_that_is_over_comes_too_late(namespaces: Namespaces, row: Row) -> None:
    row.injects("X3", "a worker stands still until its attempts have timed out, and their results and heartbeats come beside the next ones")
    work = namespaces("beats")
    items = 24
    work.owner()
    first = work.worker()
    load = work.load(items, items)
    work.until(lambda: announced(work) == items, "all items at work")
    first.send_signal(signal.SIGSTOP)
    second = work.worker()
    work.until(lambda: executed(work) >= items + items // 2, "second attempts at work", 60)
    late = [task for _, task in tasks(work) if task.attempt == 2]
    references = [(task.workflow_id, ActivityReference(task.run_id, task.scheduled_event_id, 1)) for task in late]
    forge(work, [Command(name, CompleteActivity(reference, LIE)) for name, reference in references])
    forge(work, [Command(name, FailActivity(reference, Failure("late"))) for name, reference in references])
    forge(work, [Command(name, ActivityHeartbeat(reference, 1 << 60, LIE)) for name, reference in references])
    row.injected(3 * len(late))
    first.send_signal(signal.SIGCONT)
    work.until_done(4)
    row.during = work.done()
    work.finish(load, items)  # a lie as a result would be told by the load
    assert first.poll() is None
    assert second.poll() is None
    attempts = {execution.attempt for execution in beats.executions(work.directory)}
    assert min(attempts) == 1 < max(attempts)  # on a slow machine the second ones may pass before anybody takes them


def test_reports_for_nobody_change_nothing(namespaces: Namespaces, row: Row) -> None:
    row.injects("X4", "reports for unknown, closed and forgotten runs, for other activities and attempts, under others' ids")
    work = namespaces("beats")
    items = 20
    owner = work.owner(retention="3s")
    work.worker()
    load = work.load(items, items)
    work.until_done(items)
    work.until(lambda: load.poll() is not None, "the load's end")
    known = [(task.workflow_id, ActivityReference(task.run_id, task.scheduled_event_id, task.attempt)) for _, task in tasks(work)]
    for when in ("closed", "forgotten"):
        if when == "forgotten":
            work.until(lambda: not work.command("workflow", "list").stdout.count("beat-"), "the runs to be forgotten", 90)
        closed = [reference for _, reference in known]
        named = [
            *known,
            *((name, replace(reference, run_id="no such run")) for name, reference in known),
            *((f"unknown-{number}", reference) for number, reference in enumerate(closed)),
            *zip((name for name, _ in known), reversed(closed), strict=True),
            *((name, replace(reference, scheduled_event_id=0, attempt=0, activity_id="1")) for name, reference in known),
        ]
        before, letters = raw.ends(work), len(raw.read(work, "dead-letters", 0))
        nonce, address = "f" * 32, ReplyAddress("nobody", 0)
        reports: list[Command] = []
        for name, reference in named:
            reports += [
                Command(name, CompleteActivity(reference, LIE)),
                Command(name, FailActivity(reference, Failure("forged"))),
                Command(name, CancelActivity(reference)),
                Command(name, ActivityHeartbeat(reference, 1 << 60, LIE, nonce, address)),
                Command(name, ActivityStarted(reference, nonce, address, "nobody", True)),
            ]
        forge(work, reports)
        row.injected(len(reports))
        ends = raw.ends(work, "commands")
        work.until(lambda ends=ends: is_settled(work, ends), "everything to be settled")  # type: ignore[misc]
        assert not transitions(work, before), f"a report for a {when} run has changed something"
        assert len(raw.read(work, "dead-letters", 0)) == letters
    load = work.load(10, 10, first=100)
    work.until(lambda: load.poll() is not None, "more items")
    row.during = 10
    assert len(work.done_numbers()) == items + 10
    assert owner.poll() is None
    work.verify()
    work.check_independently()


def transitions(namespace: Namespace, since: list[int]) -> int:
    """How many transitions each history holds from its offset in `since` on."""
    records = [record for partition, first in enumerate(since) for record in raw.history(namespace, partition) if record[0].offset >= first]
    return sum(len(decoded.transitions) for _, decoded in records if isinstance(decoded, CommitRecord))


def is_settled(namespace: Namespace, ends: list[int]) -> bool:
    """Whether the recorded watermark of each partition has reached the end of its commands."""
    for partition, end in enumerate(ends):
        recorded = [getattr(decoded, "watermark", None) for _, decoded in raw.history(namespace, partition)]
        if max((watermark for watermark in recorded if watermark is not None), default=-1) < end - 1:
            return False
    return True


def test_what_may_run_once_does_whatever_is_doubled_and_whoever_dies(namespaces: Namespaces, row: Row) -> None:
    row.injects("X5", "tasks and announcements copied while workers and owners die between grant and run, and effects go out again")
    once = namespaces("ledger")
    entries, once.session_ms = 200, 3_000
    owner, worker = once.owner(points="effect.acked:60+:drop"), once.worker()
    load = once.load(entries, 10, per_second=15)
    place = once.directory / "ledger"
    once.until(lambda: place.exists() and len(ledger.lines(once.directory)) > 10, "executions")
    for round_number in range(6):
        announced = [task for _, task in tasks(once) if task.announce_first][-20:]
        names = {task.workflow_id for task in announced}
        starts = [
            record
            for partition in range(PARTITIONS)
            for record in raw.read(once, "commands", partition)
            if isinstance((command := decode_command(record.value)).body, ActivityStarted) and command.workflow_id in names
        ]
        copies = [record for record, task in tasks(once) if task.workflow_id in names]
        raw.again(once, copies)
        raw.again(once, starts)
        row.injected(len(copies) + len(starts))
        with (once.directory / "deaths").open("a") as deaths:
            deaths.write("copies\n")
        kill(worker)
        if round_number % 2:
            kill(owner)
            owner = once.owner(points="effect.acked:60+:drop")
        raw.again(once, copies)  # those that die with the one worker are a backlog for the next
        worker = once.worker()
        row.during += sum(task.announce_first for _, task in tasks(once))
        before = len(ledger.lines(once.directory))
        once.until(lambda before=before: len(ledger.lines(once.directory)) > before or load.poll() is not None, "more executions")  # type: ignore[misc]
    kill(owner)
    once.owner()
    once.finish(load, entries)
    odd = [number for number, _ in ledger.lines(once.directory) if number % 2]
    row.figures["ran_once"] = len(odd)
    assert len(odd) == len(set(odd)) > 0
