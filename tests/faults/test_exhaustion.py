"""Owners that have too few descriptors or too little memory (row L2): they refuse or end with a reason, and others do the work."""

import pytest

from kit.namespace import Namespaces, kill
from kit.row import Row

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]


@pytest.mark.parametrize(
    ("log", "limits"),
    [("sqlite", "NOFILE=16"), ("sqlite", "NOFILE=28"), ("sqlite", "NOFILE=40"), ("kafka", "NOFILE=48"), ("kafka", "AS=500000000")],
)
def test_an_owner_without_room_ends_with_a_reason_or_works_and_nothing_is_left_to_nobody(
    namespaces: Namespaces, row: Row, log: str, limits: str
) -> None:
    row.injects("L2", f"setrlimit {limits} in the first of two owners, on {log}")
    bank, transfers = namespaces(log=log), 100
    bank.session_ms = 3_000
    poor = bank.owner("poor", more={"PERDURE_FAULTY_LIMITS": limits})
    row.injected()
    bank.until(lambda: poor.poll() is not None or bank.said(poor).count(": leading with claim") >= 1, "a reason, or work", 60)
    bank.owner("rich")
    bank.worker()
    load = bank.load(transfers, 10)
    bank.until_done(10)
    row.during = bank.done()
    bank.until(lambda: load.poll() is not None, "the load's end", 150)
    if poor.poll() is not None:
        said = bank.said(poor)
        assert poor.returncode != 0, said
        assert "Too many open files" in said or "memory" in said.lower() or "alloc" in said.lower(), said
        row.figures["ended_with"] = poor.returncode
    else:
        kill(poor)
    bank.finish(load, transfers)
