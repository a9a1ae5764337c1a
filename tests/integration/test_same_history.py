"""One script on every kind of log: memory, SQLite and a Kafka broker come to the same histories, but for ids, times and who did it.

The simulation's log is a model of the others; where it differs from them, what is shown on it is not shown of them.
"""

from __future__ import annotations

import dataclasses
import re
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kit.sim_workflows import REFUSED_AMOUNT, WORKFLOWS
from perdure import activity
from perdure._log.address import open_log
from perdure._log.memory import MemoryLog, MemoryMedium
from perdure._log.port import Log
from perdure._replay.runtime import CodeHost
from perdure.client import Client, WorkflowFailureError
from perdure.common import WorkflowIDReusePolicy
from perdure.exceptions import ApplicationError, WorkflowAlreadyStartedError
from perdure.worker import Worker
from perdure_platform.node.embedded import EmbeddedOwner
from perdure_schemas.codec import decode_history
from perdure_schemas.history import CommitRecord
from perdure_schemas.live import LiveState, Verdict, judge, link_of
from perdure_schemas.topics import history_topic, namespace_topics

pytestmark = pytest.mark.kafka

PARTITIONS = 2
PATIENCE = timedelta(seconds=60)
OF_THE_MOMENT = re.compile(r"_ms$|^identity$|^worker|^trace|^request_id$|^waiter$|nonce")
"""Fields in which two plays of one script differ."""
AN_ID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")

Histories = dict[str, list[Any]]


@activity.defn
async def withdraw(amount: int) -> int:
    if amount % 2 and activity.info().attempt == 1:
        raise ApplicationError("busy", type="Busy")
    return amount


@activity.defn
async def deposit(amount: int) -> int:
    if amount == REFUSED_AMOUNT:
        raise ApplicationError("no", type="No", non_retryable=True)
    return amount


@activity.defn
async def refund(amount: int) -> int:
    return amount


@activity.defn
async def inspect(number: int) -> int:
    return number


async def script(client: Client) -> list[object]:
    """One thing after the other, so that nothing is up to chance; what the client was told."""
    told: list[object] = []
    options: dict[str, Any] = {"task_queue": "sim", "rpc_timeout": PATIENCE}
    for account in ("account-0", "account-3"):
        await client.start_workflow("SimAccount", args=[0, 0], id=account, **options)
    account_0 = client.get_workflow_handle("account-0")
    for amount in (5, 6, 7, 8):  # it continues as new meanwhile
        await account_0.signal("deposit", amount, rpc_timeout=PATIENCE)
        told.append(await account_0.query("deposits_seen", rpc_timeout=PATIENCE))
    for name, amount in (("transfer-0", 2), ("transfer-1", 3), ("transfer-2", REFUSED_AMOUNT)):
        told.append(await client.execute_workflow("SimTransfer", args=["account-0", "account-3", amount], id=name, **options))
    told.append(await client.execute_workflow("SimChain", args=[3, 0], id="chain", **options))
    for name in ("brief", "brief"):
        brief = await client.start_workflow("SimBrief", id=name, **options)
        await brief.signal("move", 1, rpc_timeout=PATIENCE)
        told.append(await brief.result(rpc_timeout=PATIENCE))
    for policy in (WorkflowIDReusePolicy.REJECT_DUPLICATE, WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY):
        try:
            await client.start_workflow("SimBrief", id="brief", id_reuse_policy=policy, **options)
        except WorkflowAlreadyStartedError:
            told.append("refused")
    told += [
        await client.execute_workflow("SimMessenger", args=[[target]], id=f"messenger-to-{target}", **options)
        for target in ("brief", "account-3", "nobody")
    ]
    careful = await client.start_workflow("SimCareful", id="careful", **options)
    told.append(await client.execute_workflow("SimCanceller", args=["careful"], id="canceller", **options))
    told.append(await _end(careful.result(rpc_timeout=PATIENCE)))
    race = await client.start_workflow("SimRace", id="race", **options)
    told.append(await race.result(rpc_timeout=PATIENCE))
    terminated = await client.start_workflow("SimCareful", id="terminated", **options)
    await terminated.terminate(reason="enough", rpc_timeout=PATIENCE)
    told.append(await _end(terminated.result(rpc_timeout=PATIENCE)))
    return told


async def _end(result: Any) -> str:
    try:
        return str(await result)
    except WorkflowFailureError as error:
        return type(error.cause).__name__


@asynccontextmanager
async def at_work(open_: Callable[[], Log], namespace: str, directory: Path) -> AsyncIterator[Client]:
    """An owner, a worker and a client, each with a log of its own."""
    logs = [open_() for _ in range(3)]
    logs[0].create_topics(namespace_topics(namespace, PARTITIONS), 60_000)
    owner = EmbeddedOwner(logs[0], namespace, CodeHost(WORKFLOWS), store_directory=directory)
    owner.start()
    try:
        async with (
            await Client.over(logs[1], namespace=namespace) as of_worker,
            Worker(of_worker, task_queue="sim", activities=[withdraw, deposit, refund, inspect]),
            await Client.over(logs[2], namespace=namespace) as client,
        ):
            yield client
    finally:
        await owner.stop(5_000)
        for log in logs:
            log.close()
    assert owner.failure is None


def histories(log: Log, namespace: str) -> Histories:
    """What is live of each workflow, event by event."""
    found: Histories = defaultdict(list)
    names: dict[str, dict[str, str]] = defaultdict(dict)
    for partition in range(PARTITIONS):
        place, live = (history_topic(namespace), partition), LiveState()
        end = log.end_offsets([place], 10_000)[place]
        consumer = log.consumer()
        consumer.assign({place: 0})
        at = 0
        while at < end:
            for record in consumer.poll(500, 1_000):
                at = record.offset + 1
                history = decode_history(record.value)
                verdict, live = judge(live, history, link_of(record.value))
                if verdict is Verdict.LIVE and isinstance(history, CommitRecord):
                    for transition in history.transitions:
                        seen = names[transition.workflow_id]
                        for event in (*transition.inbound, *transition.produced):
                            found[transition.workflow_id].append((type(event).__name__, plain(event, seen)))
        consumer.close()
    return dict(found)


def plain(value: Any, names: dict[str, str]) -> Any:
    """A value without what differs between two plays; ids are numbered in the order in which they come."""
    if dataclasses.is_dataclass(value):
        fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {name: plain(inner, names) for name, inner in fields if not OF_THE_MOMENT.search(name)}
    if isinstance(value, str):
        return AN_ID.sub(lambda found: names.setdefault(found[0], f"id-{len(names)}"), value)
    if isinstance(value, tuple | list):
        return [plain(one, names) for one in value]
    if isinstance(value, dict):
        return {key: plain(one, names) for key, one in sorted(value.items())}
    return value


async def test_every_kind_of_log_comes_to_the_same_histories(kafka: str, tmp_path: Path) -> None:
    medium = MemoryMedium()
    kinds: dict[str, Callable[[], Log]] = {
        "memory": lambda: MemoryLog(medium),
        "sqlite": lambda: open_log(f"sqlite:///{tmp_path / 'perdure.db'}")[0],
        "kafka": lambda: open_log(f"kafka://{kafka}")[0],
    }
    told: dict[str, list[object]] = {}
    found: dict[str, Histories] = {}
    for kind, open_ in kinds.items():
        namespace = f"same-{uuid.uuid4().hex[:8]}"
        async with at_work(open_, namespace, tmp_path / kind) as client:
            told[kind] = await script(client)
        log = open_()
        found[kind] = histories(log, namespace)
        log.close()
    assert len(found["memory"]) >= 11
    assert sum(len(events) for events in found["memory"].values()) > 80
    for kind in ("sqlite", "kafka"):
        assert told[kind] == told["memory"]
        assert found[kind].keys() == found["memory"].keys()
        for workflow_id, events in found["memory"].items():
            assert found[kind][workflow_id] == events, f"{workflow_id} on {kind}"
