"""`perdure task-queue`: who polls a queue, and how much waits there. It asks the log alone: no owner need run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import typer

from perdure._log.port import DescribedMember, Log
from perdure_platform.cli.connection import opened_log
from perdure_platform.cli.exits import ExitCode, fail, reporting
from perdure_platform.cli.options import DEFAULT_LOG, AsJson, LogUrl, Namespace
from perdure_platform.cli.output import duration_text, print_fields, print_json, print_table, print_text
from perdure_platform.cli.patience import DEFAULT_TIMEOUT, Patience, Timeout
from perdure_platform.cli.waiting import Notices, no_worker
from perdure_schemas.limits import check_id
from perdure_schemas.topics import commands_topic, task_queue_of, tasks_topic, workers_group

commands = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@dataclass(frozen=True, slots=True)
class _Queue:
    """A task queue as the log knows it. `backlogs` are, per partition, the tasks that no worker has done with or taken for good."""

    name: str
    pollers: tuple[DescribedMember, ...]
    backlogs: dict[int, int]

    @property
    def backlog(self) -> int:
        return sum(self.backlogs.values())


@commands.command("list")
def list_(timeout: Timeout = DEFAULT_TIMEOUT, log_url: LogUrl = DEFAULT_LOG, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """List the task queues of a namespace with their pollers and their backlogs."""
    patience = Patience(timeout)
    with _reading(log_url, namespace, patience) as (log, name):
        topics = log.list_topics(tasks_topic(name, ""), _left_ms(patience))
        found = [_queue(log, name, queue, patience) for topic in topics if (queue := task_queue_of(name, topic)) is not None]
    if as_json:
        print_json([{"task_queue": one.name, "pollers": len(one.pollers), "backlog": one.backlog} for one in found])
    else:
        print_table(("task queue", "pollers", "backlog"), [(one.name, len(one.pollers), one.backlog) for one in found])


@commands.command("describe")
def describe(
    queue: Annotated[str, typer.Argument(metavar="NAME", help="The task queue.")],
    timeout: Timeout = DEFAULT_TIMEOUT,
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Show the workers that poll a task queue, and its backlog: the tasks that none has taken, or not yet for good.

    A queue is made with its first worker or its first task; one that is not there yet is not found (exit code 4).
    """
    patience, notices = Patience(timeout), Notices(log_url, namespace)
    with _reading(log_url, namespace, patience) as (log, name):
        check_id("task queue", queue)
        if not log.describe_topics([tasks_topic(name, queue)], _left_ms(patience)):
            fail(
                ExitCode.NOT_FOUND,
                f"there is no task queue {queue!r} in namespace {name!r} at {log.url}: no worker has polled it, and it was given no task",
                f"those that there are: {notices.typed('task-queue list')}",
            )
        found = _queue(log, name, queue, patience)
    if as_json:
        pollers = [
            {"id": one.name, "host": one.host, "partitions": list(one.partitions), "last_seen_ms_ago": one.silent_ms}
            for one in found.pollers
        ]
        partitions = [{"partition": number, "backlog": backlog} for number, backlog in found.backlogs.items()]
        print_json({"task_queue": queue, "pollers": pollers, "backlog": found.backlog, "partitions": partitions})
        return
    print_fields([("task queue", queue), ("pollers", len(found.pollers)), ("backlog", found.backlog)])
    if found.pollers:
        typer.echo()
        print_table(("poller", "host", "partitions", "backlog", "last seen"), [_row(one, found.backlogs) for one in found.pollers])
    else:
        print_text(f"\n{no_worker(notices, queue)}")


@contextmanager
def _reading(log_url: str, namespace: str | None, patience: Patience) -> Iterator[tuple[Log, str]]:
    """The log and the name of a namespace that is there."""
    with reporting(log_url), opened_log(log_url, namespace) as (log, name):
        if not log.describe_topics([commands_topic(name)], _left_ms(patience)):
            fail(
                ExitCode.NOT_FOUND,
                f"there is no namespace {name!r} at {log.url}",
                f"create it: perdure namespace create {shlex.quote(name)} --log {shlex.quote(log.url)}",
            )
        yield log, name


def _queue(log: Log, namespace: str, queue: str, patience: Patience) -> _Queue:
    topic = tasks_topic(namespace, queue)
    places = [(topic, number) for number in range(log.describe_topics([topic], _left_ms(patience))[topic].partitions)]
    group = log.describe_group(workers_group(namespace, queue), topic, _left_ms(patience))
    starts, ends = log.start_offsets(places, _left_ms(patience)), log.end_offsets(places, _left_ms(patience))
    backlogs = {place[1]: max(0, ends[place] - max(starts[place], group.committed.get(place[1], 0))) for place in places}
    return _Queue(queue, group.members, backlogs)


def _row(one: DescribedMember, backlogs: dict[int, int]) -> tuple[object, ...]:
    partitions = ", ".join(map(str, one.partitions))
    seen = "" if one.silent_ms is None else f"{duration_text(one.silent_ms)} ago"
    return one.name, one.host, partitions, sum(backlogs[number] for number in one.partitions if number in backlogs), seen


def _left_ms(patience: Patience) -> int:
    return max(1, round(patience.call().total_seconds() * 1000))
