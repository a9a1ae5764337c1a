"""Puts a mutant to what is there to kill it, and writes down what did, after how many tries, and how long that took.

A killer is a source of ordinary tests: random schedules, failures at port calls, or tests by name. What is known to kill is tried first,
so that a run is short; then all there is, in order and within a bound, so that nothing depends on that one case.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import pytest

from kit.mutants.registry import MUTANTS, numbers_of
from kit.scenarios import FAILURES, SCENARIOS
from kit.schedule import Schedule
from perdure_schemas.errors import PerdureError

ROOT = Path(__file__).parents[3]
REPORT = Path(os.environ.get("PERDURE_MUTANTS_REPORT", ROOT / ".cache" / "mutants.jsonl"))

SCHEDULES_MAX = 1_000
FAILURES_MAX = 2_000

Try = tuple[str, Callable[[], object]]
"""What is tried, as a reader would repeat it, and the trying; it raises AssertionError or PerdureError where a promise is broken."""


class Killer(Protocol):
    """Where the tests come from that a mutant is put to."""

    @property
    def kind(self) -> str:
        """What they are called in the report."""

    def known(self, mutant: str) -> Iterator[Try]:
        """What has killed it before."""

    def all(self, mutant: str) -> Iterator[Try]:
        """What else there is, in the order in which it is tried."""


@dataclass(frozen=True)
class Schedules:
    """Random schedules; `first` is the seed that is known to do it. `trims`: those that are full of trims and takeovers."""

    first: int
    trims: bool = False
    kind: str = "random schedules"

    def known(self, mutant: str) -> Iterator[Try]:
        yield self._of(self.first)

    def all(self, mutant: str) -> Iterator[Try]:
        return map(self._of, range(SCHEDULES_MAX))

    def _of(self, seed: int) -> Try:
        trims = ", trims=True" if self.trims else ""
        return f"Schedule({seed}{trims})", lambda: Schedule(seed, trims=self.trims).run()


@dataclass(frozen=True)
class Failures:
    """Failures at port calls of the canonical workflows; the known one is the call number `at` of `scenario`, 0 for none at all."""

    scenario: str
    failure: str = "crash_before"
    at: int = 0
    kind: str = "failures at port calls"

    def known(self, mutant: str) -> Iterator[Try]:
        yield self._of(self.scenario, self.failure, self.at)

    def all(self, mutant: str) -> Iterator[Try]:
        """Those of the same kind first, a few of each workflow, then the others."""
        others = [failure for failure in FAILURES if failure != self.failure]
        every = itertools.chain.from_iterable(
            (self._of(scenario, failure, at) for at in range(1, 400, 9) for scenario in SCENARIOS) for failure in (self.failure, *others)
        )
        return itertools.islice(every, FAILURES_MAX)

    def _of(self, scenario: str, failure: str, at: int) -> Try:
        return f"{scenario}: {failure} {at}", lambda: FAILURES[failure](SCENARIOS[scenario](), at)


@dataclass(frozen=True)
class One:
    """One test, run by pytest in a process of its own that has the mutant (tests/conftest.py)."""

    test: str
    kind: str = "a test"

    def known(self, mutant: str) -> Iterator[Try]:
        yield self.test, lambda: self._run(mutant)

    def all(self, mutant: str) -> Iterator[Try]:
        return self.known(mutant)

    def _run(self, mutant: str) -> None:
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", f"tests/{self.test}"],
            cwd=ROOT,
            env={**os.environ, "PERDURE_MUTANT": mutant},
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            raise RuntimeError(f"the test did not run:\n{ran.stdout}{ran.stderr}")
        assert ran.returncode == pytest.ExitCode.OK, ran.stdout


_OWNER = "unit/owner/"

KILLERS: dict[str, Killer] = {
    # which records are live
    "claim_ignored": One(
        _OWNER + "test_half_appended_turns.py::test_a_late_record_of_a_superseded_claim_is_dead_although_its_sequence_would_fit"
    ),
    "claim_latest": Schedules(0),
    "claim_latest_reset": Schedules(6),
    "claim_first": Schedules(6),
    "no_seq": Schedules(0),
    "seq_rises": Schedules(2, trims=True),
    "claim_by_owner": Schedules(2),
    "alarm": Schedules(2),
    "trimmed_claim_stops": One(
        _OWNER + "test_trimming.py::test_what_a_zombie_appends_under_a_claim_that_was_trimmed_away_is_dead_and_stops_nobody"
    ),
    "count_ignored": One(
        _OWNER + "test_topic_audit.py::test_a_history_that_was_restored_without_a_part_is_not_believed_although_no_offset_is_missing"
    ),
    "unknown_skipped": One(_OWNER + "test_topic_audit.py::test_a_record_that_this_build_cannot_read_stops_its_partition_and_not_the_other"),
    # when an owner owns
    "claim_trusting": Schedules(0),
    "claim_sets": Schedules(22),
    "goes_on_after_claim": Failures("transfers", "stop_before", 10),
    "goes_on_after_hole": Failures("transfers", "append_lost", 1),
    "link_ignored": One(_OWNER + "test_twins.py::test_what_an_owner_has_sent_ahead_is_dead_behind_what_its_twin_has_sent"),
    "copy_retires": One(_OWNER + "test_copies.py::test_copies_of_its_newest_and_of_old_records_do_not_make_an_owner_claim_again"),
    # inputs
    "wm_every": Schedules(0),
    "marks_every": Schedules(0),
    "applied_off": Schedules(25),
    "applied_per_run": Schedules(25),
    "marks_off": Schedules(2),
    "marks_not_skipped": One(
        _OWNER + "test_half_appended_turns.py::test_copies_of_commands_that_a_half_appended_turn_had_applied_are_not_applied_again"
    ),
    "group_offsets": Failures("transfers", "crash_before", 127),
    # refusals
    "refusal_no_record": Schedules(0),
    "refusal_unordered": Schedules(0),
    "refusals_one_first": Schedules(0),
    "refusals_one_last": Schedules(10),
    # outputs
    "released_on_send": One(
        _OWNER
        + "test_releasing.py::"
        + "test_a_task_that_was_on_its_way_when_its_owner_died_is_sent_by_the_next_although_later_records_are_live"
    ),
    "release_early": Schedules(5),
    "reply_early": Schedules(0),
    "effects_on_ack": Failures("cancelled_by_workflow", "stop_before", 64),
    "nothing_released_again": Failures("transfers", "crash_after", 73),
    "effects_no_fifo": Schedules(22),
    "effects_gaps": Failures("transfers", "append_lost", 1),
    "effects_reversed": Failures("messages_to_whoever_is_there"),
    "park_reissue": Schedules(1),
    # reads and time
    "no_barrier": One(_OWNER + "test_reads.py::test_a_zombie_that_has_not_read_the_claim_of_its_successor_answers_nothing"),
    "barrier_before_turn": One(_OWNER + "test_reads.py::test_a_query_beside_a_change_is_answered_once_the_change_is_in_the_log"),
    "barrier_before_command": One(_OWNER + "test_reads.py::test_a_machine_that_was_suspended_does_not_say_how_things_were_before"),
    "no_drain": Schedules(0),
    "timers_early": One(_OWNER + "test_timers.py::test_a_timer_that_is_looked_at_every_millisecond_fires_in_the_one_in_which_it_is_due"),
    "clock_restarts": One(
        _OWNER + "test_clocks_that_disagree.py::test_time_does_not_go_back_over_a_takeover_where_the_broker_s_clock_was_set_back"
    ),
    # memory and store
    "written_on_append": Failures("cancelled_by_client", "append_lost", 10),
    "offset_in_second_batch": Failures("signals_and_timers", "crash_after", 109),
    "evicted_in_flight": Schedules(5),
    # trimming
    "carry_noop": Schedules(1),
    "carried_current": Schedules(6),
    "carried_confirmed": Schedules(0, trims=True),
    "carried_as_one": Failures("trimmed"),
    "carried_timeless": Failures("trimmed"),
    "ckpt_no_reqs": Schedules(1),
    "ckpt_no_applied": Schedules(0, trims=True),
    "ckpt_no_marks": Schedules(0, trims=True),
    "trim_unreleased": Schedules(2, trims=True),
    "delete_unconfirmed": Schedules(2, trims=True),
    "late_reader_jumps": Schedules(1),
    "claim_waits": One(_OWNER + "test_trimming.py::test_who_waits_for_a_claim_that_was_trimmed_away_starts_over"),
    "start_anywhere": Schedules(1),
    "start_first": One(
        _OWNER + "test_trimming.py::test_a_reader_begins_at_no_checkpoint_that_is_dead_where_the_start_has_moved_back_to_one"
    ),
    "start_at_claim": Schedules(0, trims=True),
    "forgets_open": Failures("trimmed"),
    "forget_unchecked": One(_OWNER + "test_trimming.py::test_a_record_that_forgets_an_open_run_stops_the_partition"),
    # activities and code
    "any_result": Schedules(37),
    "grant_without_nonce": One(_OWNER + "test_activities.py::test_a_grant_is_for_one_delivery_only"),
    "offset_after_run": One(
        "unit/sdk/activity_worker/test_starting.py::"
        "test_a_task_from_before_the_assignment_runs_once_its_start_is_acknowledged_and_its_offset_committed"
    ),
    "ready_set": One("unit/sdk/replay/test_code.py::test_tasks_run_in_the_order_in_which_they_were_started"),
    "hash_counts_all": One("unit/sdk/replay/test_order.py::test_the_order_of_a_set_does_not_depend_on_futures_that_nobody_put_into_one"),
    "group_as_error": One("unit/sdk/replay/test_groups_of_errors.py::test_a_workflow_that_is_cancelled_while_a_group_waits_is_cancelled"),
    "strike_not_awaited": One(
        _OWNER + "test_isolation.py::test_a_suspect_is_let_through_once_its_announcement_is_confirmed_and_the_next_one_after_that"
    ),
    "border_skipped": One("unit/sdk/replay/test_border.py::test_what_cannot_be_recorded_fails_its_activation_with_an_error_that_names_it"),
    "defects_not_contained": One(_OWNER + "test_containment.py::test_a_defect_over_an_activation_blocks_its_run_and_heals"),
    "strikes_at_once": One(
        _OWNER + "test_isolation.py::test_a_process_tries_one_suspect_at_a_time_over_all_its_partitions_and_each_has_its_turn"
    ),
    "suspects_flow": One(_OWNER + "test_deadly_code.py::test_a_run_that_ends_its_owners_is_parked_after_four_deaths"),
    "all_are_suspects": One(_OWNER + "test_deadly_code.py::test_what_comes_after_a_death_is_not_announced"),
    "group_cleared_early": One("property/test_caution.py::test_the_strike_of_a_group_is_cleared_by_the_position_record_behind_all_of_it"),
}
"""What kills each mutant. Seeds and numbers of calls mean something else after a change of the simulation: then the search finds others,
and `make mutants` says which."""


@dataclass
class Killed:
    """A line of the report."""

    misreading: str
    mutant: str
    by: str
    test: str
    tries: int
    seconds: float

    def write(self) -> None:
        """Append it to the report."""
        REPORT.parent.mkdir(parents=True, exist_ok=True)
        with REPORT.open("a", encoding="utf-8") as report:
            report.write(json.dumps(asdict(self)) + "\n")


def kill(name: str, *, search: bool) -> Killed | None:
    """Try until a test fails; None if all pass. With `search` nothing is known, as for somebody who made the mistake today."""
    killer = KILLERS[name]
    tries = killer.all(name) if search else itertools.chain(killer.known(name), killer.all(name))
    began = _cpu_seconds()
    for number, (test, run) in enumerate(tries, 1):
        try:
            with pytest.MonkeyPatch.context() as patch:
                if not isinstance(killer, One):  # which has a process of its own
                    MUTANTS[name](patch)  # anew each time: some remember what they have seen, and ids repeat
                run()
        except (AssertionError, PerdureError):
            return Killed(numbers_of(name), name, killer.kind, test, number, round(_cpu_seconds() - began, 1))
    return None


def _cpu_seconds() -> float:
    """Of this process and of those that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def table() -> list[str]:
    """The report as a table in Markdown."""
    lines = [json.loads(line) for line in REPORT.read_text(encoding="utf-8").splitlines()] if REPORT.exists() else []
    lines.sort(key=lambda line: (int(line["misreading"][1:] or 99), line["mutant"]))
    head = ["| misreading | mutant | killed by | the first that does | tries | CPU seconds |", "|---|---|---|---|---|---|"]
    for line in lines:
        line["test"] = line["test"].split("::")[-1]
    return [*head, *("| {misreading} | `{mutant}` | {by} | {test} | {tries} | {seconds} |".format_map(line) for line in lines)]


if __name__ == "__main__":
    print("\n".join(table()))
