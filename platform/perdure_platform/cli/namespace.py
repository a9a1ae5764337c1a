"""`perdure namespace`: the topics that make a namespace."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from perdure._log.port import Log
from perdure_platform.cli.connection import opened_log
from perdure_platform.cli.exits import ExitCode, fail, reporting, typed
from perdure_platform.cli.options import DEFAULT_LOG, AsJson, LogUrl
from perdure_platform.cli.output import jsonable, print_fields, print_json, print_table, print_text
from perdure_platform.node.replication import warnings
from perdure_platform.ops.acls import Role, grants
from perdure_schemas.limits import check_id
from perdure_schemas.topics import (
    UNREPLICATED,
    Replication,
    commands_topic,
    dead_letters_topic,
    history_topic,
    namespace_topics,
    replication_for,
    replies_topic,
)

commands = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        envvar="PERDURE_NAMESPACE",
        help='The namespace. [default: the one that the URL names, or "default"]',
        show_default=False,
    ),
]
TIMEOUT_MS = 30_000


@commands.command("create")
def create(
    namespace: Name = None,
    partitions: Annotated[
        int | None,
        typer.Option(
            min=1, max=4096, help="How many owners can share the work at most; fixed for ever. [default: the log's own]", show_default=False
        ),
    ] = None,
    replication_factor: Annotated[
        int | None,
        typer.Option(min=1, help="How many brokers keep each record. [default: 3, or as many brokers as there are]", show_default=False),
    ] = None,
    min_insync_replicas: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many brokers must have a record before it is acknowledged. [default: 2 with three copies, else 1]",
            show_default=False,
        ),
    ] = None,
    log_url: LogUrl = DEFAULT_LOG,
    as_json: AsJson = False,
) -> None:
    """Create the topics of a namespace. Repeating it is harmless; another number of partitions is refused.

    Task topics, which are made when a queue is first used, get as many copies as the history has.
    """
    with reporting(log_url), opened_log(log_url, namespace) as (log, name):
        check_id("namespace", name)
        found = log.describe_topics([commands_topic(name)], TIMEOUT_MS)
        present = found[commands_topic(name)].partitions if found else 0
        if present and partitions and present != partitions:
            fail(ExitCode.CONFLICT, f"namespace {name!r} has {present} partitions; this number is fixed when a namespace is created")
        count = present or partitions or log.default_partitions
        replication = _replication(log, replication_factor, min_insync_replicas)
        log.create_topics(namespace_topics(name, count, replication=replication), TIMEOUT_MS)
        _warn(log, name)
        if as_json:
            print_json({"namespace": name, "partitions": count, "log": log.url, "created": not present})
            return
        copies = f", {replication.factor} copies" if replication.factor > 1 and not present else ""
        typer.echo(f"namespace {name!r} {'was there already' if present else 'created'} with {count} partitions{copies} at {log.url}")


@commands.command("describe")
def describe(namespace: Name = None, log_url: LogUrl = DEFAULT_LOG, as_json: AsJson = False) -> None:
    """Show the topics of a namespace and how much they hold."""
    with reporting(log_url), opened_log(log_url, namespace) as (log, name):
        rows = _topics(log, name)
        if not rows:
            fail(
                ExitCode.NOT_FOUND,
                f"there is no namespace {name!r} at {log.url}",
                f"create it: {typed(f'perdure namespace create --log {shlex.quote(log.url)}', name)}",
            )
        if as_json:
            names = ("topic", "partitions", "records", "copies", "topic_id", "settings")
            print_json({"namespace": name, "log": log.url, "topics": [dict(zip(names, row, strict=True)) for row in rows]})
            return
        print_fields([("namespace", name), ("log", log.url)])
        typer.echo()
        has_copies = any(row[3] for row in rows)
        columns = ("topic", "partitions", "records", "copies")[: 4 if has_copies else 3]
        print_table(columns, [row[: len(columns)] for row in rows])
        _warn(log, name)


@commands.command("acls")
def acls(
    namespace: Annotated[str, typer.Argument(metavar="NAME", envvar="PERDURE_NAMESPACE", help="The namespace.")] = "default",
    owner: Annotated[str, typer.Option(metavar="PRINCIPAL", help="Who the owners are.")] = "User:perdure-owner",
    worker: Annotated[str, typer.Option(metavar="PRINCIPAL", help="Who the workers are.")] = "User:perdure-worker",
    client: Annotated[str, typer.Option(metavar="PRINCIPAL", help="Who the clients are.")] = "User:perdure-client",
    observer: Annotated[str, typer.Option(metavar="PRINCIPAL", help="Who only reads.")] = "User:perdure-observer",
    queue: Annotated[
        list[str] | None, typer.Option(help="A task queue of these workers; repeatable. [default: all]", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print what each role needs on a cluster that authorizes, as options of Kafka's `kafka-acls`, a line each. Nothing is changed."""
    with reporting(""):
        check_id("namespace", namespace)
        found = grants(namespace, queue or ())
    principals = {Role.OWNER: owner, Role.WORKER: worker, Role.CLIENT: client, Role.OBSERVER: observer}
    if as_json:
        print_json([{"principal": principals[grant.role], **jsonable(grant)} for grant in found])
        return
    for grant in found:
        print_text(grant.command_line(principals[grant.role]))


def _replication(log: Log, factor: int | None, in_sync_min: int | None) -> Replication:
    """What was asked for, or what suits the cluster."""
    nodes = log.nodes(TIMEOUT_MS)
    if not nodes:
        if factor is not None or in_sync_min is not None:
            fail(ExitCode.USAGE, f"{log.url} keeps no copies; leave --replication-factor and --min-insync-replicas out")
        return UNREPLICATED
    if factor is not None and factor > nodes:
        fail(ExitCode.USAGE, f"--replication-factor {factor} needs as many brokers, and {log.url} has {nodes}")
    chosen = replication_for(nodes if factor is None else factor)
    chosen = Replication(factor or chosen.factor, in_sync_min or chosen.in_sync_min)
    if chosen.in_sync_min > chosen.factor:
        fail(ExitCode.USAGE, f"--min-insync-replicas {chosen.in_sync_min} is more than {chosen.factor} copies; nothing could be written")
    return chosen


def _warn(log: Log, namespace: str) -> None:
    for text in warnings(log, namespace, TIMEOUT_MS):
        print_text(f"warning: {text}", err=True)


def _topics(log: Log, namespace: str) -> list[tuple[str, int, int, int, str, dict[str, str]]]:
    fixed = [commands_topic(namespace), history_topic(namespace), replies_topic(namespace), dead_letters_topic(namespace)]
    names = fixed + log.list_topics(f"{namespace}.tasks.", TIMEOUT_MS)
    rows = []
    for name, topic in log.describe_topics(names, TIMEOUT_MS).items():
        partitions = [(name, number) for number in range(topic.partitions)]
        starts, ends = log.start_offsets(partitions, TIMEOUT_MS), log.end_offsets(partitions, TIMEOUT_MS)
        records = sum(ends[one] - starts[one] for one in partitions)
        rows.append((name, topic.partitions, records, topic.replicas, topic.topic_id, topic.settings))
    return sorted(rows)
