"""Owners with token keys, as an operator runs them: what a stranger appends changes nothing, and the keys appear nowhere."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from kit.shell import APP, Shell
from perdure._log.address import open_log
from perdure._log.port import Delivery, Log
from perdure.client import Client, RPCError, RPCStatusCode
from perdure_platform.cli.exits import ExitCode
from perdure_schemas.codec import decode_task, encode_command
from perdure_schemas.commands import ActivityReference, Command, CompleteActivity
from perdure_schemas.payload import Payload
from perdure_schemas.placement import partition_of

pytestmark = pytest.mark.slow

WAITING = """
from pathlib import Path


@activity.defn
async def outside() -> str:
    Path("token").write_bytes(activity.info().task_token)
    activity.raise_complete_async()


@workflow.defn
class Waiting:
    @workflow.run
    async def run(self) -> str:
        return await workflow.execute_activity(outside, start_to_close_timeout=timedelta(minutes=5))


registry = Registry(task_queue="work", workflows=[Waiting], activities=[outside])
"""


def _append(log: Log, command: Command) -> None:
    partitions = log.describe_topics(["default.commands"], 10_000)["default.commands"].partitions
    producer = log.producer(Delivery.PIPELINED)
    producer.append(
        "default.commands", partition_of(command.workflow_id, partitions), command.workflow_id.encode(), encode_command(command)
    )
    assert producer.flush(10_000)
    producer.close()


def _the_task(log: Log) -> ActivityReference:
    consumer = log.consumer()
    topic = "default.tasks.work"
    consumer.assign({(topic, partition): 0 for partition in range(log.describe_topics([topic], 10_000)[topic].partitions)})
    for _ in range(100):
        if records := consumer.poll(10, 200):
            task = decode_task(records[0].value)
            return ActivityReference(task.run_id, task.scheduled_event_id, task.attempt)
    raise AssertionError("there is no task")


async def test_only_the_holder_of_a_task_token_completes_an_activity(shell: Shell) -> None:
    key = secrets.token_hex(32)
    keys = shell.directory / "keys"
    keys.write_text(f"{key}\n")
    keys.chmod(0o600)
    (shell.directory / "app.py").write_text(APP + WAITING)
    shell.background("dev", "app:registry", "--token-keys", "keys")
    shell.done("workflow", "start", "Waiting", "--task-queue", "work", "--id", "w")
    token = shell.directory / "token"
    shell.until(lambda: token.exists() and token.read_bytes().endswith(b"]"), "the activity's token")

    log = open_log(f"sqlite:///{shell.directory / 'perdure.db'}")[0]
    try:
        _append(log, Command("w", CompleteActivity(_the_task(log), (Payload({"encoding": b"json/plain"}, b'"forged"'),))))
    finally:
        log.close()
    shell.until(lambda: len(shell.json("dead-letters", "list")) == 1, "the dead letter")
    (letter,) = [entry["letter"] for entry in shell.json("dead-letters", "list")]
    assert letter["reason"] == "forged"
    assert "carries no task-token" in letter["message"]

    client = await Client.connect(f"sqlite:///{shell.directory / 'perdure.db'}")
    try:
        by_ids = client.get_async_activity_handle(workflow_id="w", run_id=None, activity_id="1")
        with pytest.raises(RPCError, match=r"activity\.info\(\)\.task_token") as refused:
            await by_ids.complete("by ids")
        assert refused.value.status is RPCStatusCode.INVALID_ARGUMENT
        await client.get_async_activity_handle(task_token=token.read_bytes()).complete("by its holder")
    finally:
        await client.close()
    assert shell.json("workflow", "result", "w")["result"] == "by its holder"
    shell.stop()
    found = [path.name for path in shell.directory.rglob("*") if path.is_file() and path != keys and key.encode() in path.read_bytes()]
    assert found == [], "the key is written down somewhere"


def test_keys_that_are_of_no_use_are_an_error_before_anything_starts(shell: Shell) -> None:
    (shell.directory / "keys").write_text("hunter2\n")
    for name, says in (("keys", "key 1 in keys is shorter than 32 characters"), ("absent", "the token keys in absent cannot be read")):
        finished = shell.typed("owner", "app:registry", "--token-keys", name)
        assert finished.returncode == ExitCode.USAGE
        assert says in finished.stderr
        assert "hunter2" not in finished.stderr
    assert not list(Path(shell.directory).glob("*.log"))
