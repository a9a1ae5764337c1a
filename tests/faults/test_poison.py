"""Code that ends its owner, and the next one, and the next (row F3): its run is set aside, and no other is."""

import shutil
import signal

import pytest

from kit import raw
from kit.namespace import COMMAND, Namespace, Namespaces, Process
from kit.row import Row
from kit.workloads.poison import POISON
from perdure_schemas.history import CommitRecord
from perdure_schemas.notes import RunParked

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]

PARTITIONS = 4
DEATHS_MAX = 8
"""Maximum number of deaths: one by surprise, one with a group, three strikes; the rest is for partitions that two owners pass to each
other meanwhile."""
GIGABYTE = 1 << 30


def parked(namespace: Namespace) -> set[str]:
    """The workflow ids that owners have set aside."""
    records = [decoded for partition in range(PARTITIONS) for _, decoded in raw.history(namespace, partition)]
    transitions = [one for record in records if isinstance(record, CommitRecord) for one in record.transitions]
    return {one.workflow_id for one in transitions for note in one.notes if isinstance(note, RunParked)}


@pytest.mark.parametrize("kind", ["exits", "segfaults", "exits in a query", "exits in a rebuild"])
def test_code_that_ends_its_owner_is_set_aside_wherever_it_runs_and_no_innocent_run_is(namespaces: Namespaces, row: Row, kind: str) -> None:
    row.injects("F3", f"code that {kind}; two owners, each started again on an empty store whenever it has died")
    poison = namespaces("poison", partitions=PARTITIONS)
    items, poison.session_ms = 80, 3_000
    stores = 0

    def owner() -> Process:
        nonlocal stores
        stores += 1
        return poison.owner(f"store-{stores}")

    owners = [owner(), owner()]
    for each in owners:
        poison.until_leading(each, 1)
    poison.command("workflow", "start", "Poison", "-q", "work", "--id", POISON, "-i", f'"{kind}"')
    load = poison.load(items, 10, per_second=4)
    poison.until_done(5)
    if kind == "exits in a rebuild":
        for each in owners:
            each.kill()
    ask = ("query", POISON, "deadly") if kind == "exits in a query" else ("signal", POISON, "go")
    asking = poison.run([*COMMAND, "workflow", *ask, "--log", poison.url], "ask")
    with row.fault(poison):

        def is_parked() -> bool:
            for place, each in enumerate(owners):
                if each.poll() is not None:
                    row.injected()
                    owners[place] = owner()
            return bool(parked(poison))

        poison.until(is_parked, "the run to be parked", 200)
        deaths = row.injections
        poison.until_done(poison.done() + 10)
        row.figures["deaths"] = deaths
    assert parked(poison) == {POISON}
    assert deaths <= DEATHS_MAX
    asking.wait(60)
    poison.until(lambda: load.poll() is not None, "the load's end", 200)
    assert parked(poison) == {POISON}, "an innocent run was parked"
    assert all(each.poll() is None for each in owners), "what is parked ends nobody"
    poison.command("workflow", "terminate", POISON)
    poison.finish(load, items)


def test_code_that_eats_all_memory_is_stopped_and_its_neighbours_go_on(namespaces: Namespaces, row: Row) -> None:
    row.injects("F3 L2", "code that allocates without end, in owners with an address space of 3 GB")
    poison = namespaces("poison", partitions=PARTITIONS)
    items = 100
    more = {"PERDURE_FAULTY_LIMITS": f"AS={3 * GIGABYTE}"}
    owner = poison.owner(more=more)
    poison.until_leading(owner, PARTITIONS)
    poison.command("workflow", "start", "Poison", "-q", "work", "--id", POISON, "-i", '"eats memory"')
    load = poison.load(items, 10, per_second=4)
    poison.until_done(5)
    with row.fault(poison):
        poison.run([*COMMAND, "workflow", "signal", POISON, "go", "--log", poison.url], "signal")
        row.injected()

        def is_stopped() -> bool:
            nonlocal owner
            if owner.poll() is not None:
                row.injected()
                shutil.rmtree(poison.directory / "store")
                owner = poison.owner(more=more)
            described = poison.typed("workflow", "describe", POISON, "--json", seconds=60).stdout
            return "MemoryError" in described or "interrupted" in described or "parked" in described

        poison.until(is_stopped, "the code to be stopped", 200)
        poison.until_done(poison.done() + 10)
    row.figures["deaths"] = row.injections - 1
    assert parked(poison) <= {POISON}
    poison.command("workflow", "terminate", POISON)
    poison.finish(load, items)
    assert owner.poll() is None or owner.returncode == -signal.SIGTERM
