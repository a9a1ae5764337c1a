"""`perdure-check` alone, with nobody else looking: which misreadings of the protocol it finds in the logs that they leave."""

from __future__ import annotations

import contextlib

import pytest

from kit.checking import check_medium
from kit.mutants.registry import MUTANTS
from kit.schedule import Schedule
from kit.world import NAMESPACE
from perdure._log.port import Record
from perdure_check.verdict import Report, State
from perdure_schemas.errors import PerdureError

SEEDS_MAX = 300

FOUND: dict[str, tuple[int, set[str]]] = {
    "any_result": (91, {"I5"}),
    "applied_off": (25, {"I4", "I12"}),
    "applied_per_run": (85, {"I6"}),
    "carried_as_one": (0, {"I5", "I6", "I11"}),
    "carried_confirmed": (1, {"I6"}),
    "carried_current": (7, {"I8"}),
    "carried_timeless": (1, {"I6"}),
    "carry_noop": (3, {"I4"}),
    "ckpt_no_applied": (0, {"I6"}),
    "ckpt_no_marks": (1, {"I6"}),
    "ckpt_no_reqs": (1, {"I4", "I6"}),
    "claim_by_owner": (2, {"I2", "I17"}),
    "claim_first": (78, {"I1", "I9"}),
    "claim_latest": (2, {"I2", "I17"}),
    "claim_latest_reset": (6, {"I2", "I17"}),
    "claim_sets": (22, {"I4", "I12", "I15", "I18"}),
    "claim_trusting": (0, {"I2"}),
    "delete_unconfirmed": (2, {"I2"}),
    "effects_gaps": (23, {"I4"}),
    "effects_no_fifo": (22, {"I4"}),
    "effects_on_ack": (10, {"I4"}),
    "effects_reversed": (0, {"I4"}),
    "evicted_in_flight": (61, {"I8"}),
    "forgets_open": (0, {"I6"}),
    "goes_on_after_claim": (21, {"I1", "I9", "I15"}),
    "late_reader_jumps": (35, {"I2", "I17"}),
    "marks_every": (0, {"I15"}),
    "marks_off": (2, {"I4"}),
    "no_barrier": (85, {"I9"}),
    "no_drain": (0, {"I11"}),
    "no_seq": (0, {"I2", "I17"}),
    "nothing_released_again": (1, {"I10"}),
    "park_reissue": (9, {"I4", "I10", "I12"}),
    "refusal_no_record": (0, {"I1", "I4"}),
    "refusal_unordered": (0, {"I4"}),
    "refusals_one_first": (0, {"I12"}),
    "refusals_one_last": (10, {"I4"}),
    "release_early": (8, {"I9"}),
    "released_on_send": (102, {"I10"}),
    "seq_rises": (2, {"I2", "I17"}),
    "start_anywhere": (4, {"I4"}),
    "start_at_claim": (1, {"I3", "I4", "I6", "I10"}),
    "trim_unreleased": (9, {"I15"}),
    "wm_every": (0, {"I12"}),
    "written_on_append": (20, {"I2", "I17"}),
}
"""A seed whose schedule shows it, and the invariants of which one was broken there; other seeds are tried if that one no longer does."""

NOT_IN_THE_LOG = {
    "alarm": "its owners stop where they need not, and what they leave behind is right",
    "claim_waits": "its owner waits for ever, and leaves nothing wrong behind",
    "barrier_before_turn": "its answers are ahead of the log by the records of one turn, mostly for less than a tick of the log's clock",
    "trimmed_claim_stops": "its readers stop where they need not, as those of alarm",
    "goes_on_after_hole": "its owner waits for ever for what will not come, and leaves nothing wrong behind",
    "offset_in_second_batch": "its store is wrong, its partition stops at the next fold, and the log is right",
    "copy_retires": "its owners claim more often than they need",
    "ready_set": "each replay in the same process does the same again, and one in another leaves the run blocked",
    "barrier_before_command": "its answers are old, and no record says at what time they left",
    "grant_without_nonce": "the workers of the schedules ask for no grants",
    "offset_after_run": "the workers of the schedules commit no offsets",
    "strike_not_awaited": "no code of the schedules ends its owner",
    "strikes_at_once": "no code of the schedules ends its owner",
    "suspects_flow": "no code of the schedules ends its owner",
    "all_are_suspects": "its owners try more inputs alone than they need",
    "group_cleared_early": "no code of the schedules ends its owner",
    "border_skipped": "no code of the schedules hands over what is no value",
    "defects_not_contained": "its partition stops where it need not, and what it leaves behind is right",
    "hash_counts_all": "each replay on the same version of Python does the same again, and one on another leaves the run blocked",
    "group_as_error": "its runs are blocked where they need not be",
}

NOT_MET = {
    "link_ignored": "a process that is there twice",
    "claim_ignored": "a late record of a superseded claim whose sequence fits",
    "group_offsets": "an owner that has read a command, dies before its record lands, and is not asked again",
    "reply_early": "a reply whose record is lost, and a client that does not ask again",
    "marks_not_skipped": "a copy of the highest command of a half-appended turn",
    "timers_early": "a turn within the last five milliseconds before a timer is due",
    "clock_restarts": "a clock of the log that was set back",
    "start_first": "a start that has moved back to a dead checkpoint",
    "count_ignored": "a history that was restored without a part",
    "unknown_skipped": "a record of a newer build",
    "forget_unchecked": "a record that forgets an open run",
}
"""What these leave in the log is wrong, but only where something happens that schedules bring about rarely, or never."""

OF_TRIMMING = {
    "carried_as_one",
    "carried_confirmed",
    "carried_timeless",
    "ckpt_no_applied",
    "ckpt_no_marks",
    "delete_unconfirmed",
    "forgets_open",
    "seq_rises",
    "start_at_claim",
    "trim_unreleased",
}


def run_unwatched(schedule: Schedule) -> bool:
    """Run to the end, with everybody else silenced; whether it came to its end."""
    world = schedule.world
    watch = world.promises.watch

    def see(record: Record) -> None:
        with contextlib.suppress(AssertionError, KeyError):
            watch(record)

    world.medium.watch = see
    world.check = lambda: None  # type: ignore[method-assign]
    try:
        schedule.run()
    except (AssertionError, PerdureError, KeyError):
        return False
    return True


def broken(reports: tuple[Report, ...]) -> set[str]:
    return {verdict.invariant for report in reports for verdict in report.verdicts if verdict.state is State.BROKEN}


@pytest.mark.parametrize("name", FOUND)
def test_a_misreading_shows_in_the_log_that_it_leaves(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[name](monkeypatch)
    first, expected = FOUND[name]
    seen: set[str] = set()
    for seed in (first, *range(SEEDS_MAX)):
        schedule = Schedule(seed, trims=name in OF_TRIMMING)
        came_to_its_end = run_unwatched(schedule)
        medium = schedule.world.medium
        seen = broken(check_medium(medium, NAMESPACE, medium.deleted, quiescent=came_to_its_end))
        if seen & expected:
            return
    pytest.fail(f"{name} left no broken log in {SEEDS_MAX} schedules; the last one broke {seen or 'nothing'}")


def test_every_mutant_is_found_or_it_is_said_why_not() -> None:
    assert sorted([*FOUND, *NOT_IN_THE_LOG, *NOT_MET]) == sorted(MUTANTS)
