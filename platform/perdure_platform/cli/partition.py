"""`perdure partition`: who owns what, and whether the owners' state is what the log says."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from perdure._telemetry.terminal import harmless_lines
from perdure.client import Client
from perdure.service import PartitionStoppedError, RPCTimeoutOrCancelledError
from perdure_platform.cli.connection import connected, opened_log
from perdure_platform.cli.exits import ExitCode, fail, reporting, run
from perdure_platform.cli.garbage import collect_seldom
from perdure_platform.cli.options import DEFAULT_LOG, DEFAULT_STORE, AsJson, LogUrl, Namespace, StoreDirectory
from perdure_platform.cli.output import jsonable, print_json, print_table
from perdure_platform.cli.store_directory import held_directory
from perdure_platform.node.topics import describe_namespace
from perdure_platform.ops.verify import Folded, TrimmedMeanwhile, fold_partition
from perdure_platform.store.rocks import RocksStores
from perdure_schemas.replies import PartitionDescribed

commands = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

ANSWER_TIMEOUT = timedelta(seconds=5)
DIGEST_TIMEOUT = timedelta(minutes=5)
TRIMMED_TIMES_MAX = 5
"""A partition that is trimmed while it is compared is compared again, so often."""
FOLDED_HEAD = ("partition", "records", "events", "seconds", "dead", "digest")
Chosen = Annotated[
    list[int] | None,
    typer.Option("--partition", "-p", metavar="N", help="This partition only; repeat it for several. [default: all]", show_default=False),
]


@commands.command("list")
def list_(log_url: LogUrl = DEFAULT_LOG, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """Show the owner, the claim, the positions and the counters of each partition; of one that is stopped, why.

    Exit code 3 if one is stopped, or has no owner that answers.
    """

    async def work() -> None:
        async with connected(log_url, namespace) as client:
            found = await described(client, range(client.connection.channel.partition_count))
        if as_json:
            print_json([_json_row(number, one) for number, one in found.items()])
        else:
            head = ("partition", "owner", "host", "claim", "open runs", "cached", "watermark", "released", "history", "in flight", "dead")
            print_table(head, [_row(number, one) for number, one in found.items()])
            for one in found.values():
                if isinstance(one, PartitionStoppedError):
                    typer.echo(f"perdure: {harmless_lines(one.message)}", err=True)
        if not all(isinstance(one, PartitionDescribed) for one in found.values()):
            raise typer.Exit(int(ExitCode.UNAVAILABLE))

    run(work(), log_url)


async def _compared(client: Client, number: int, log_url: str, namespace: str | None, *, answers: bool) -> tuple[Folded, str]:
    """A partition folded up to where its owner's digest was taken, and the verdict."""
    for attempt in itertools.count(1):
        live = await client.describe_partition(number, with_digest=True, rpc_timeout=DIGEST_TIMEOUT) if answers else None
        end_offset = live.digest_offset + 1 if live else None
        try:
            with opened_log(log_url, namespace) as (log, name), tempfile.TemporaryDirectory(prefix="perdure-verify-") as scratch:
                folded = await asyncio.to_thread(fold_partition, log, name, number, RocksStores(Path(scratch)), end_offset)
        except TrimmedMeanwhile:
            if attempt == TRIMMED_TIMES_MAX:
                raise
            await asyncio.sleep(1)
        else:
            return folded, "no owner answers" if live is None else "same" if live.digest == folded.digest else "DIFFERS"
    raise AssertionError("counting has no end")


@commands.command("verify")
def verify(chosen: Chosen = None, log_url: LogUrl = DEFAULT_LOG, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """Fold partitions from the log into a scratch store and compare it with what their owners have, row for row, by a digest.

    Exit code 1 if one differs, 3 if one has no owner that answers; the others are compared all the same.
    """
    collect_seldom()

    async def work() -> list[tuple[Folded, str]]:
        async with connected(log_url, namespace) as client:
            numbers = _numbers(chosen, client.connection.channel.partition_count)
            answering = await described(client, numbers)  # who does not answer this gets no long wait for a digest
            return [
                await _compared(client, number, log_url, namespace, answers=isinstance(answering[number], PartitionDescribed))
                for number in numbers
            ]

    results = run(work(), log_url)
    verdicts = [verdict for _, verdict in results]
    if as_json:
        partitions = [{**jsonable(folded), "verdict": verdict.lower()} for folded, verdict in results]
        print_json({"partitions": partitions, "differences": verdicts.count("DIFFERS"), **_rate([folded for folded, _ in results])})
    else:
        print_table((*FOLDED_HEAD, "owner's state"), [(*_folded_row(folded), verdict) for folded, verdict in results])
    if "DIFFERS" in verdicts:
        hint = "stop that owner and rebuild its store: perdure partition rebuild; then report this, with both digests"
        fail(ExitCode.FAILED, "an owner's state is not what the log says", hint)
    if "no owner answers" in verdicts:
        fail(ExitCode.UNAVAILABLE, "the log could be folded, but there was nobody to compare with", "start an owner and verify again")


@commands.command("rebuild")
def rebuild(
    chosen: Chosen = None,
    store: StoreDirectory = DEFAULT_STORE,
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Make the store of an owner that is stopped anew from the log. What it held before is set aside, beside the new one."""
    collect_seldom()
    with reporting(log_url), opened_log(log_url, namespace) as (log, name), held_directory(Path(store)) as directory:
        stores = RocksStores(directory)
        results = []
        for number in _numbers(chosen, describe_namespace(log, name)[0]):
            stores.set_aside(number, "rebuilt by perdure partition rebuild")
            results.append(fold_partition(log, name, number, stores))
        if as_json:
            print_json({"partitions": results, **_rate(results)})
        else:
            print_table(FOLDED_HEAD, [_folded_row(folded) for folded in results])


async def described(client: Client, partitions: Sequence[int]) -> dict[int, PartitionDescribed | PartitionStoppedError | None]:
    """What the owners say of their partitions; None where none answers."""

    async def one(partition: int) -> PartitionDescribed | PartitionStoppedError | None:
        try:
            return await client.describe_partition(partition, rpc_timeout=ANSWER_TIMEOUT)
        except PartitionStoppedError as error:
            return error
        except RPCTimeoutOrCancelledError:
            return None

    answers = await asyncio.gather(*(one(partition) for partition in partitions))
    return dict(zip(partitions, answers, strict=True))


def _json_row(number: int, one: PartitionDescribed | PartitionStoppedError | None) -> object:
    if isinstance(one, PartitionDescribed):
        return jsonable(one)
    stopped = {} if one is None else {"stopped": one.message}
    return {"partition": number, "owner": None, **stopped}


def _row(number: int, one: PartitionDescribed | PartitionStoppedError | None) -> tuple[object, ...]:
    if not isinstance(one, PartitionDescribed):
        return (number, "no owner answers" if one is None else "STOPPED", *[""] * 9)
    dead = ", ".join(f"{count} {cause}" for cause, count in sorted(one.dead.items())) or 0
    return (
        number,
        one.owner,
        one.host,
        one.claim_number,
        one.open_runs,
        one.cached_runs,
        one.watermark,
        one.released,
        one.history_offset,
        one.in_flight,
        dead,
    )


def _numbers(chosen: list[int] | None, count: int) -> list[int]:
    """The partitions to work on. Raises typer.BadParameter for one that the namespace does not have."""
    for number in chosen or ():
        if not 0 <= number < count:
            raise typer.BadParameter(f"the namespace has partitions 0 to {count - 1}, and not {number}", param_hint="--partition")
    return sorted(set(chosen or range(count)))


def _folded_row(folded: Folded) -> tuple[object, ...]:
    dead = ", ".join(f"{count} {cause}" for cause, count in sorted(folded.dead.items())) or 0
    return (folded.partition, folded.records, folded.events, f"{folded.seconds:.2f}", dead, folded.digest[:16])


def _rate(results: Sequence[Folded]) -> dict[str, object]:
    events, seconds = sum(folded.events for folded in results), sum(folded.seconds for folded in results)
    return {"events": events, "seconds": round(seconds, 3), "events_per_s": round(events / seconds) if seconds else 0}
