"""`perdure dead-letters`: what owners and workers set aside because they could not use it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

import typer

from perdure._log.port import Delivery, Log
from perdure_platform.cli.connection import opened_log
from perdure_platform.cli.exits import ExitCode, fail, reporting, typed
from perdure_platform.cli.options import DEFAULT_LOG, AsJson, LogUrl, Namespace
from perdure_platform.cli.output import print_json, print_table
from perdure_platform.partition.decode import DEAD_LETTER_VALUE_BYTES_MAX
from perdure_schemas.codec import TOPIC_CODECS
from perdure_schemas.dead_letters import DeadLetter
from perdure_schemas.errors import CodecError
from perdure_schemas.placement import partition_of
from perdure_schemas.topics import commands_topic, dead_letters_topic

commands = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

TIMEOUT_MS = 30_000
POLL_MS = 500


@commands.command("list")
def list_(log_url: LogUrl = DEFAULT_LOG, namespace: Namespace = None, as_json: AsJson = False) -> None:
    """List what was set aside, oldest first: where it came from, and why."""
    with reporting(log_url), opened_log(log_url, namespace) as (log, name):
        letters = list(_letters(log, name))
        if as_json:
            print_json([{"number": number, "letter": letter} for number, letter in letters])
            return
        rows = [
            (
                number,
                _time(letter),
                f"{letter.source_topic}[{letter.source_partition}]@{letter.source_offset}",
                letter.reason,
                letter.message,
            )
            for number, letter in letters
        ]
        print_table(("number", "set aside at", "from", "reason", "message"), rows)


@commands.command("redrive")
def redrive(
    numbers: Annotated[list[int], typer.Argument(help="As `perdure dead-letters list` shows them.", min=0)],
    log_url: LogUrl = DEFAULT_LOG,
    namespace: Namespace = None,
    as_json: AsJson = False,
) -> None:
    """Send records that were set aside again, as they were, once what kept them from being used is mended. They stay in the list."""
    with reporting(log_url), opened_log(log_url, namespace) as (log, name):
        letters = {number: letter for number, letter in _letters(log, name) if number in numbers}
        if missing := sorted(set(numbers) - letters.keys()):
            fail(ExitCode.NOT_FOUND, f"there is no dead letter {missing[0]}", "see: perdure dead-letters list")
        for number, letter in letters.items():
            if len(letter.value) >= DEAD_LETTER_VALUE_BYTES_MAX:
                fail(ExitCode.FAILED, f"dead letter {number} is only the beginning of its record, which was too large to keep")
        producer = log.producer(Delivery.ORDERED)
        try:
            for number in dict.fromkeys(numbers):
                letter = letters[number]
                producer.append(letter.source_topic, _partition(log, name, letter), letter.key or None, letter.value, token=number)
            producer.flush(TIMEOUT_MS)
            sent, failed = producer.poll()
        finally:
            producer.close()
        if failed or len(sent) < len(letters):
            why = failed[0].error if failed else f"no acknowledgement within {TIMEOUT_MS // 1000} s"
            fail(ExitCode.UNAVAILABLE, f"{len(sent)} of {len(letters)} records were sent again, and then: {why}")
        if as_json:
            print_json({"sent": sorted(letters)})
        else:
            typer.echo(f"{len(letters)} sent again")


def _letters(log: Log, namespace: str) -> Iterator[tuple[int, DeadLetter]]:
    topic = dead_letters_topic(namespace)
    if not log.describe_topics([topic], TIMEOUT_MS):
        fail(
            ExitCode.NOT_FOUND,
            f"there is no namespace {namespace!r} at {log.url}",
            f"create it: {typed('perdure namespace create', namespace)}",
        )
    place = (topic, 0)
    position, end = log.start_offsets([place], TIMEOUT_MS)[place], log.end_offsets([place], TIMEOUT_MS)[place]
    consumer = log.consumer()
    try:
        consumer.assign({place: position})
        while position < end:
            for record in consumer.poll(500, POLL_MS):
                position = record.offset + 1
                try:
                    yield record.offset, TOPIC_CODECS["dead_letters"].decode(record.value)
                except CodecError as error:
                    typer.echo(f"record {record.offset} of {topic} is no dead letter: {error}", err=True)
    finally:
        consumer.close()


def _partition(log: Log, namespace: str, letter: DeadLetter) -> int:
    """Where the record belongs; for a command, where its workflow id belongs, wherever it had been put."""
    topic = commands_topic(namespace)
    if letter.source_topic != topic or not letter.key:
        return letter.source_partition
    return partition_of(letter.key.decode("utf-8", "replace"), log.describe_topics([topic], TIMEOUT_MS)[topic].partitions)


def _time(letter: DeadLetter) -> str:
    return datetime.fromtimestamp(letter.recorded_at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
