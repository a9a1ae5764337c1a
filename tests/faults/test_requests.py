"""Commands that make no event (refusals, dead letters, questions), and turns that are half appended (rows W8 W10 W13)."""

import asyncio
from datetime import timedelta

import pytest

from kit import raw
from kit.namespace import Namespace, Namespaces, Process, kill
from kit.row import Row
from kit.workloads.oddities import Box
from perdure.client import Client
from perdure.exceptions import WorkflowAlreadyStartedError
from perdure_schemas.codec import decode_command, decode_dead_letter

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]

PATIENCE = timedelta(seconds=90)
DIES = "effect.acked:1:kill"
PARTITIONS = 4


async def died(namespace: Namespace, owner: Process, row: Row) -> Process:
    """Wait for an owner's death by its failpoint; returns the next one."""
    await asyncio.to_thread(namespace.until, lambda: owner.poll() is not None, f"death at {DIES}", 60)
    row.injected()
    return namespace.owner()


async def test_what_makes_no_event_is_answered_although_its_owner_dies_with_the_answer(namespaces: Namespaces, row: Row) -> None:
    row.injects("W8", f"{DIES} on a dead letter, on a refusal and on the answer to a question, alone in their partition")
    odd = namespaces("oddities", partitions=1)
    owner = odd.owner()
    async with await Client.connect(odd.url) as client:
        box = await client.start_workflow(Box.run, id="box", task_queue="work", rpc_timeout=PATIENCE)

        kill(owner)
        place = raw.ends(odd, "commands")[0]
        raw.append(odd, "commands", 0, [b"poison"])
        owner = await died(odd, odd.owner(points=DIES), row)
        await asyncio.to_thread(odd.until_leading, owner)
        # Its letter may have gone to the broker before its owner died, or leaves with the next one: once at least.
        await asyncio.to_thread(odd.until, lambda: place in letters(odd), "the dead letter")

        kill(owner)
        dying = odd.owner(points=DIES)
        again = asyncio.create_task(client.start_workflow(Box.run, id="box", task_queue="work", request_id="again", rpc_timeout=PATIENCE))
        owner = await died(odd, dying, row)
        with pytest.raises(WorkflowAlreadyStartedError):
            await again

        kill(owner)
        dying = odd.owner(points=DIES)
        asked = asyncio.create_task(box.query(Box.seen, rpc_timeout=PATIENCE))
        owner = await died(odd, dying, row)
        assert await asked == []
        await box.terminate(rpc_timeout=PATIENCE)
    await asyncio.to_thread(odd.verify)
    await asyncio.to_thread(odd.check_independently)


def letters(namespace: Namespace) -> set[int]:
    """Offsets of the commands that were set aside."""
    return {decode_dead_letter(record.value).source_offset for record in raw.read(namespace, "dead-letters", 0)}


async def test_a_refused_request_stays_refused_when_a_copy_of_it_comes_after_the_id_is_free(namespaces: Namespaces, row: Row) -> None:
    row.injects("W13", "copies of a refused start in flight, its owner killed after the reply, more copies once the id is free")
    odd = namespaces("oddities", partitions=1)
    owner = odd.owner()
    async with await Client.connect(odd.url) as client:

        async def ask() -> str:
            """Ask for a second box under one request id; what came of it."""
            options = {"id": "box", "task_queue": "work", "request_id": "second", "rpc_timeout": PATIENCE}
            try:
                return (await client.start_workflow(Box.run, **options)).result_run_id or ""  # type: ignore[call-overload]
            except WorkflowAlreadyStartedError:
                return "refused"

        box = await client.start_workflow(Box.run, id="box", task_queue="work", rpc_timeout=PATIENCE)
        assert await ask() == "refused"
        asked = [record for record in raw.read(odd, "commands", 0) if is_second(record.value)]
        raw.again(odd, asked)
        row.injected(len(asked))
        kill(owner)
        row.injected()
        owner = odd.owner()
        await box.terminate(rpc_timeout=PATIENCE)
        raw.again(odd, asked)
        row.injected(len(asked))
        assert await ask() == "refused", "one request was refused and granted"
        kill(owner)
        odd.owner("fresh")
        raw.again(odd, asked)
        assert await ask() == "refused", "one request was refused and granted"
        described = await client.get_workflow_handle("box").describe(rpc_timeout=PATIENCE)
        assert described.run_id == box.result_run_id
    await asyncio.to_thread(odd.verify)
    await asyncio.to_thread(odd.check_independently)


def is_second(command: bytes) -> bool:
    """Whether a command is of the request that is refused."""
    request = decode_command(command).request
    return request is not None and request.request_id == "second"


def test_half_appended_turns_for_several_runs_and_copies_of_their_commands_double_nothing(bank: Namespace, row: Row) -> None:
    row.injects("W10", "an owner that dies at the 40th to the 47th append, eight in turn; after each death copies of the newest commands")
    transfers, bank.session_ms = 300, 3_000
    bank.worker()
    load = bank.load(transfers, 40)
    for death in range(8):
        owner = bank.owner(points=f"log.append:{40 + death}:kill")
        bank.until(lambda owner=owner: owner.poll() is not None or load.poll() is not None, "the death", 60)  # type: ignore[misc]
        kill(owner)
        for partition in range(PARTITIONS):
            copies = [one for one in raw.read(bank, "commands", partition)[-40:] if decode_command(one.value).origin is not None]
            raw.again(bank, copies)
            row.injected(len(copies))
    row.injected(len(bank.struck))
    bank.owner()
    bank.finish(load, transfers)
    assert len(bank.struck) >= 4, "the load ended before its owners died"
