"""A checkpoint of which parts were lost is no place at which a log may begin: settled requests would be forgotten, and acted on twice."""

from dataclasses import replace
from typing import Any

import pytest

from kit.slow_medium import Fate
from kit.world import FIRST, LIMITS, NAMESPACE, World, history_of, open_account, transfer
from perdure._log.memory.medium import Append
from perdure_platform.ops.verify import fold_partition
from perdure_platform.partition import trim
from perdure_platform.store.digest import digest
from perdure_platform.store.memory import MemoryStores
from perdure_platform.store.tables import Tables
from perdure_schemas import codec
from perdure_schemas.history import Checkpoint

RETENTION_MS = 1_000


class LosesRest:
    """Of the first checkpoint with several parts, only the first lands."""

    def __init__(self) -> None:
        self.claim_id = ""

    def __call__(self, append: Append) -> Fate:
        record: Any = codec.decode_history(append.value) if append.topic == history_of(0)[0] else None
        if not isinstance(record, Checkpoint) or record.parts == 1:
            return Fate.LANDS
        self.claim_id = self.claim_id or record.claim_id
        return Fate.LANDS if record.part == 1 or record.claim_id != self.claim_id else Fate.LOST


def test_a_log_does_not_begin_at_a_checkpoint_of_which_a_part_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trim, "PART_BYTES", 1)  # a request each, as if they were large
    world = World(partitions=1, limits=replace(LIMITS, retention_ms=RETENTION_MS, checkpoint_interval_ms=200))
    for account in ("account-0", "account-3"):
        world.ask(account, open_account())
    first = world.ask("transfer-first", transfer("account-0", "account-3", 7))
    world.medium.fate = loses = LosesRest()
    world.start()
    for _ in range(400):
        world.step()
        if loses.claim_id:
            break
    assert loses.claim_id, "no checkpoint had parts"
    world.lose_process(0)
    world.clock.ms += RETENTION_MS + 500
    world.start()
    for number in range(600):
        if number % 10 == 0:
            world.ask(f"transfer-{number}", transfer("account-0", "account-3", 2))
        world.step()
        if world.medium.bounds(*history_of(0))[0] > 0:
            break
    assert world.medium.bounds(*history_of(0))[0] > 0, "nothing was trimmed"
    store = world.stores[FIRST].stores[0].opened()
    folded = fold_partition(world.log, NAMESPACE, 0, MemoryStores(), Tables(store).positions().next_offset)
    assert folded.digest == digest(store)
    world.lose_process(0)
    world.stores.clear()
    world.start()
    world.send(world.asked[first].command)
    world.run_until_done()
    world.check()
