"""Trimming at a real owner: what retention drops is gone from log and store, everything else goes on (design.md 3.8)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

import pytest

from kit.slow_medium import Fate
from kit.world import FIRST, LIMITS, NAMESPACE, SECOND, World, history_of, open_account, plain, transfer
from perdure_platform.node.assignment import Stage
from perdure_platform.ops.verify import fold_partition
from perdure_platform.partition import trim
from perdure_platform.partition.runs import Runs
from perdure_platform.partition.transition.state import RunState
from perdure_platform.store.digest import digest
from perdure_platform.store.memory import MemoryStores
from perdure_platform.store.tables import Tables
from perdure_schemas import codec, history
from perdure_schemas.commands import ActivityHeartbeat, ActivityReference, Command, SignalWorkflow, StartWorkflow
from perdure_schemas.history import Checkpoint, Claim, CommitRecord, Forget, RunName
from perdure_schemas.payload import Payload
from perdure_schemas.tasks import ActivityTask

TRIMS = replace(LIMITS, retention_ms=1_000, checkpoint_interval_ms=200)


def busy_world(transfers: int = 12) -> World:
    """One partition that was trimmed several times while two accounts lived through transfers."""
    world = World(partitions=1, limits=TRIMS)
    for account in ("account-0", "account-3"):
        world.ask(account, open_account())
    world.start()
    for number in range(transfers):
        world.ask(f"transfer-{number}", transfer("account-0", "account-3", 2))
        steps(world, 10)
    world.run_until_done()
    return world


def steps(world: World, count: int) -> None:
    for _ in range(count):
        world.step()


def kinds(world: World) -> list[str]:
    start, _ = world.medium.bounds(*history_of(0))
    return [type(codec.decode_history(record.value)).__name__ for record in world.medium.read(*history_of(0), start, 10_000)]


def test_closed_runs_go_and_open_ones_stay_in_the_log_and_in_the_store() -> None:
    world = busy_world()
    steps(world, 200)
    start, end = world.medium.bounds(*history_of(0))
    assert start > 100
    assert world.medium.bounds(f"{NAMESPACE}.commands", 0)[0] > 0
    rows = [summary.workflow_id for _, summary in Tables(world.stores[FIRST].stores[0].opened()).summaries()]
    assert sorted(rows) == ["account-0", "account-3"]
    assert end - start < 40
    world.check()


def test_a_run_is_carried_in_as_many_records_as_its_heartbeats_need(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(partitions=1, limits=TRIMS)
    for account in ("account-0", "account-3"):
        world.ask(account, open_account())
    world.ask("transfer-0", transfer("account-0", "account-3", 2))
    world.start()
    at_work: list[ActivityTask] = []
    monkeypatch.setattr(world, "report", at_work.append)
    while not at_work:
        world.step()
    (task,) = at_work
    attempt = ActivityReference(task.run_id, task.scheduled_event_id, task.attempt)
    for number in range(1, 13):
        world.send(Command("transfer-0", ActivityHeartbeat(attempt, number, (Payload({}, bytes(1024 * 1024)),))))
        steps(world, 3)
    for _ in range(3):  # also what has been carried before
        start, _ = world.medium.bounds(*history_of(0))
        world.send(Command("transfer-0", ActivityHeartbeat(attempt, 100 + start, plain("small"))))
        steps(world, 200)
        assert world.medium.bounds(*history_of(0))[0] > start, "the log is not trimmed"
    assert kinds(world).count("Claim") <= 1
    monkeypatch.undo()
    world.report(task)
    world.run_until_done()
    world.check()


def test_however_many_runs_are_trimmed_a_turn_looks_at_some_of_them_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trim, "RUNS_AT_ONCE", 4)
    monkeypatch.setattr(trim, "FORGET_RUNS_MAX", 3)
    looked_at: list[str] = []
    load = Runs.load

    def counted(runs: Runs, workflow_id: str, run_id: str) -> RunState | None:
        looked_at.append(workflow_id)
        return load(runs, workflow_id, run_id)

    monkeypatch.setattr(Runs, "load", counted)
    world = World(partitions=1, limits=replace(TRIMS, retention_ms=10_000))
    for account in ("account-0", "account-3"):
        world.ask(account, open_account())
    world.start()
    for number in range(25):
        world.ask(f"transfer-{number}", transfer("account-0", "account-3", 2))
    world.run_until_done()
    most = 0
    for _ in range(700):
        looked_at.clear()
        world.step()
        most = max(most, len(looked_at))
    assert world.medium.bounds(*history_of(0))[0] > 0
    assert 0 < most <= 4
    world.check()


def test_an_idle_partition_is_left_alone() -> None:
    world = busy_world()
    steps(world, 300)
    before = world.medium.bounds(*history_of(0))
    steps(world, 500)
    assert world.medium.bounds(*history_of(0)) == before


@pytest.mark.parametrize("part_bytes", [1, trim.PART_BYTES])
def test_a_wiped_owner_begins_where_the_log_begins(part_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trim, "PART_BYTES", part_bytes)
    world = busy_world()
    for _ in range(3):
        world.lose_process(0)
        world.stores.clear()
        world.start()
        steps(world, 20)
    world.ask("transfer-again", transfer("account-3", "account-0", 3))
    world.run_until_done()
    if part_bytes == 1:
        parts = [codec.decode_history(record.value) for record in world.medium.deleted[history_of(0)]]
        assert max(part.parts for part in parts if isinstance(part, history.Carried)) > 1
        assert max(part.parts for part in parts if isinstance(part, history.Checkpoint)) > 1
    world.check()


def test_without_a_retention_everything_is_kept() -> None:
    world = World(partitions=1)
    world.ask("account-0", open_account())
    world.start()
    world.run_until_done()
    steps(world, 500)
    assert world.medium.bounds(*history_of(0))[0] == 0
    assert "Checkpoint" not in kinds(world)


def test_a_log_whose_beginning_was_deleted_otherwise_stops_with_what_to_do() -> None:
    world = World(partitions=1)
    world.ask("account-0", open_account())
    world.start()
    world.run_until_done()
    world.lose_process(0)
    world.stores.clear()
    world.medium.truncate_before(*history_of(0), 2)
    process = world.start()
    steps(world, 150)
    assigned = process.node.partitions[0]
    assert assigned.stage is Stage.STOPPED
    assert "records were deleted otherwise than by trimming" in str(assigned.failure)


def test_a_record_that_forgets_an_open_run_stops_the_partition() -> None:
    world = World(partitions=1)
    world.ask("account-0", open_account())
    world.start()
    world.run_until_done()
    _, _, last = world.live()[-1]
    run_id = next(t.run_id for _, _, record in world.live() if isinstance(record, CommitRecord) for t in record.transitions)
    positions = Tables(world.stores[FIRST].stores[0].opened()).positions()
    world.lose_process(0)
    forget = Forget(
        last.claim_number, positions.live.claim_id, positions.live.sequence + 1, last.time_ms, -1, (RunName("account-0", run_id),)
    )
    world.medium.append(*history_of(0), None, codec.encode_history(forget))
    process = world.start()
    steps(world, 150)
    assert "is forgotten while it is open" in str(process.node.partitions[0].failure)


def rival_whose_claim_is_trimmed_away() -> World:
    """A second owner waits for its claim, which comes late, while the first trims the place where it reads."""
    world = World(partitions=1, limits=TRIMS, said={0: {FIRST}})
    world.ask("account-0", open_account())
    world.ask("account-3", open_account())
    world.start()
    world.run_until_done()
    assert world.said is not None
    world.said[0] = {FIRST, SECOND}
    second = world.start(name=SECOND)
    world.medium.fate = lambda append: Fate.LATE if append.producer in second.log.producers else Fate.LANDS
    steps(world, 20)
    assert second.node.partitions[0].stage is Stage.CLAIMING
    second.log.hidden.add(history_of(0))
    for number in range(12):
        world.ask(f"transfer-{number}", transfer("account-0", "account-3", 2))
        steps(world, 10)
    world.medium.fate = lambda append: Fate.LANDS
    world.lose_process(0)
    world.said[0] = {SECOND}
    second.log.hidden.clear()
    world.medium.on_the_way.clear()
    return world


def test_who_waits_for_a_claim_that_was_trimmed_away_starts_over() -> None:
    world = rival_whose_claim_is_trimmed_away()
    world.run_until_done()
    assert world.processes[SECOND].node.partitions[0].stage is Stage.LEADING
    world.check()


def test_who_begins_behind_a_trim_waits_before_it_claims_again_like_any_other() -> None:
    world = rival_whose_claim_is_trimmed_away()
    second = world.processes[SECOND]
    for _ in range(10):  # as often as it has lost against its rival before
        second.node._backoffs[0].lost()
    woken_at, claims = world.clock.ms, [second.node.partitions[0]._claiming]
    while world.clock.ms - woken_at < 5_000 and second.node.partitions[0]._claiming in (None, *claims):
        world.step()
    assert second.log.overtaken, "it was not behind the trim"
    assert second.node.partitions[0].stage is Stage.CLAIMING
    assert world.clock.ms - woken_at >= LIMITS.claim_backoff_max_ms / 2, f"claimed after {world.clock.ms - woken_at} ms"


def test_a_store_from_before_a_trim_is_set_aside_and_made_anew() -> None:
    world = busy_world(transfers=3)
    world.lose_process(0)
    old = world.stores.pop(FIRST)
    world.start()
    for number in range(20):
        world.ask(f"transfer-later-{number}", transfer("account-0", "account-3", 2))
        steps(world, 10)
    world.run_until_done()
    world.lose_process(0)
    world.stores[FIRST] = old
    world.start()
    world.run_until_done()
    assert len(old.aside) == 1
    world.check()


def test_what_a_zombie_appends_under_a_claim_that_was_trimmed_away_is_dead_and_stops_nobody() -> None:
    """K4: who began behind that claim has never seen it."""
    world = World(partitions=1, limits=TRIMS, said={0: {FIRST}})
    for account in ("account-0", "account-3"):
        world.ask(account, open_account())
    first = world.start()
    world.run_until_done()
    world.medium.fate = lambda append: Fate.LATE if append.topic == f"{NAMESPACE}.history" else Fate.LANDS
    world.ask("transfer-late", transfer("account-0", "account-3", 2))
    while not world.medium.on_the_way:
        world.step()
    late = list(world.medium.on_the_way)
    world.medium.fate = lambda append: Fate.LANDS
    world.paused.add(first.name)
    assert world.said is not None
    world.said[0] = {SECOND}
    world.start(name=SECOND)
    for number in range(12):
        world.ask(f"transfer-{number}", transfer("account-0", "account-3", 2))
        steps(world, 10)
    steps(world, 100)
    claims = [record.value for record in world.medium.deleted[history_of(0)] if isinstance(codec.decode_history(record.value), Claim)]
    assert len(claims) == 2, "the claims have not been trimmed away"
    world.lose_process(0, SECOND)
    world.stores.pop(SECOND)
    process = world.start(name=SECOND)
    for append in late:
        world.medium.deliver(append)
    steps(world, 100)
    for append in list(world.medium.on_the_way):
        world.medium.deliver(append)
    assert process.node.partitions[0].stage is Stage.LEADING, process.node.partitions[0].failure
    world.processes.pop(FIRST)
    world.run_until_done()
    world.check()


def test_a_reader_begins_at_no_checkpoint_that_is_dead_where_the_start_has_moved_back_to_one() -> None:
    """K3, R5: the first checkpoint in sight need not be one at which a log may begin."""
    world = busy_world()
    place = history_of(0)
    start, _ = world.medium.bounds(*place)
    seen = world.medium.deleted[place]
    checkpoint = next(record for record in reversed(seen) if isinstance(codec.decode_history(record.value), Checkpoint))
    copy = world.medium.append(*place, checkpoint.key, checkpoint.value)
    for number in range(8):
        world.ask(f"transfer-later-{number}", transfer("account-0", "account-3", 2))
        steps(world, 10)
    world.run_until_done()
    steps(world, 100)
    start, _ = world.medium.bounds(*place)
    assert start > copy.offset, "the copy has not been trimmed away"
    world.medium.move_start_back(*place, start - copy.offset)
    assert world.medium.bounds(*place)[0] == copy.offset
    world.lose_process(0)
    world.stores.clear()
    world.start()
    world.ask("transfer-again", transfer("account-3", "account-0", 3))
    world.run_until_done()
    world.check()


def test_of_the_runs_of_one_id_the_last_is_forgotten_last_so_that_every_start_gives_the_same_rows() -> None:
    """A long run that was carried is followed by a short one: once both are past their retention, neither hides the other."""
    world = World(partitions=1, limits=TRIMS)
    for account in ("account-0", "account-3"):
        world.ask(account, open_account())
    world.ask("brief-0", StartWorkflow("SimBrief", "sim", ()))
    world.start()
    starts = {0}
    for number in range(24):
        world.ask(f"transfer-{number}", transfer("account-0", "account-3", 2))
        if number == 10:
            world.ask("brief-0", SignalWorkflow("move", input=plain(1)))
            world.ask("brief-0", StartWorkflow("SimNote", "sim", ()), after_ms=100)
        for _ in range(10):
            world.step()
            start, _ = world.medium.bounds(*history_of(0))
            if start not in starts:
                starts.add(start)
                store = world.stores[FIRST].stores[0].opened()
                folded = fold_partition(world.log, NAMESPACE, 0, MemoryStores(), Tables(store).positions().next_offset)
                assert folded.digest == digest(store), f"rows that are folded from offset {start} are others"
    assert len(starts) > 5


def test_nothing_waits_for_a_prefix_that_is_not_deleted() -> None:
    """K9: the broker does not answer, and the owner works and trims on; what was to be deleted goes later."""
    world = World(partitions=1, limits=TRIMS)
    asked: list[tuple[Callable[[], None], Future[None]]] = []

    def never(call: Callable[[], None]) -> Future[None]:
        asked.append((call, Future()))
        return asked[-1][1]

    process = world.start()
    process.node._around = replace(process.node._around, aside=never)
    for account in ("account-0", "account-3"):
        world.ask(account, open_account())
    for number in range(12):
        world.ask(f"transfer-{number}", transfer("account-0", "account-3", 2))
        steps(world, 10)
    world.run_until_done()
    assert len(asked) == 1, "a deletion was asked for again before the first one was answered"
    assert kinds(world).count("Checkpoint") > 2
    assert world.medium.bounds(*history_of(0))[0] == 0
    call, deletion = asked[0]
    call()
    deletion.set_result(None)
    steps(world, 10)
    assert world.medium.bounds(*history_of(0))[0] > 0
    assert len(asked) == 2, "what has been trimmed meanwhile was not asked for"
    world.check()
