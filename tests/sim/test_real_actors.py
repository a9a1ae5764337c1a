"""Real clients and real workers fail at port calls of theirs, and live through random schedules; `make sim` takes every call.

What is broken would be a promise (P1 to P6), a rule of `perdure-check`, an execution that nothing explains, or a second one of what must
not be done twice.
"""

import pytest

from kit.campaign import run_seeds
from kit.real_campaign import fail_actor_at, kinds
from kit.real_scenarios import REAL_FAILURES, WORKER, real_calls
from kit.schedule import LONG

SMOKE_SEEDS = range(40)

SOMETIMES = {
    "outcome unknown",
    "read timed out",
    "client crashed",
    "worker crashed",
    "worker told to leave",
    "worker stopped in a call",
    "worker stalled in a call",
    "owner lost",
    "executed again",
    "grant refused",
    "attempt not wanted",
    "cancellation sent",
    "activity timed out",
    "commands append lost",
    "commands append untold",
    "commands append twice",
    "tasks append twice",
    "replies append lost",
}
"""What must have happened in some of the schedules; otherwise they look in the wrong places."""


@pytest.mark.parametrize(("name", "actor", "failure"), list(kinds()))
def test_a_failure_at_a_port_call_of_client_or_worker_breaks_no_promise(name: str, actor: str, failure: str) -> None:
    calls = real_calls(name, actor, failure)
    if not calls:
        assert failure in {"commit_refused", "commit_untold", "commit_lost", "busy"} or failure.startswith("append")
        return  # this workflow makes no such call
    shared = failure.startswith(("stop", "stall")) or failure.endswith(("stall", "beside"))  # a second worker takes a part of them
    place = 1 + hash_of(name, actor, failure) % (len(calls) // 2 if shared else len(calls))
    outcome = fail_actor_at(name, actor, failure, [place])
    assert not outcome.failures
    assert "" not in outcome.seen, "the port call was not reached"


def hash_of(*words: str) -> int:
    """The same in every process."""
    return sum(ord(letter) * (place + 1) for place, letter in enumerate(" ".join(words)))


def test_a_commit_that_is_lost_is_made_again_although_no_further_task_comes() -> None:
    assert REAL_FAILURES["commit_lost"]("charges", WORKER, 1) == "group_consumer.commit"


def test_an_owner_writes_its_last_position_although_somebody_stands_still_at_the_end() -> None:
    assert REAL_FAILURES["short_stall"]("signals", WORKER, 55) == "consumer.poll"


def test_schedules_keep_every_promise() -> None:
    outcome = run_seeds(SMOKE_SEEDS, LONG, is_real=True)
    assert not outcome.failures
    assert outcome.seen.keys() >= SOMETIMES, f"never seen: {sorted(SOMETIMES - outcome.seen.keys())}"
