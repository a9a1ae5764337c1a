"""Every mutant by its name, and which of them stand for each tempting misreading of faults.md section 4."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import ModuleType

import pytest

from kit.mutants import activities, claims, code, inputs, live_rule, memory_and_store, outputs, reads_and_time, refusals, trimming

Patch = Callable[[pytest.MonkeyPatch], None]


def _of(module: ModuleType) -> dict[str, Patch]:
    found = inspect.getmembers(module, inspect.isfunction)
    return {name: one for name, one in found if one.__module__ == module.__name__ and not name.startswith("_")}


MUTANTS: dict[str, Patch] = {
    name: patch
    for module in (live_rule, claims, inputs, refusals, outputs, reads_and_time, memory_and_store, trimming, activities, code)
    for name, patch in _of(module).items()
}

MISREADINGS: dict[str, tuple[str, ...]] = {
    "M1": ("claim_ignored",),
    "M2": ("claim_latest", "claim_latest_reset", "claim_first"),
    "M3": ("no_seq",),
    "M4": ("seq_rises",),
    "M5": ("claim_by_owner",),
    "M6": ("goes_on_after_claim",),
    "M7": ("goes_on_after_hole",),
    "M8": ("written_on_append",),
    "M9": ("offset_in_second_batch",),
    "M10": ("effects_on_ack", "release_early"),
    "M11": ("wm_every",),
    "M12": ("applied_off",),
    "M13": ("applied_per_run",),
    "M14": ("released_on_send",),
    "M15": ("nothing_released_again",),
    "M16": ("group_offsets",),
    "M17": ("marks_off",),
    "M18": ("any_result",),
    "M19": ("marks_every",),
    "M20": ("marks_not_skipped",),
    "M21": ("effects_no_fifo", "effects_gaps"),
    "M22": ("park_reissue",),
    "M23": ("reply_early",),
    "M24": ("no_barrier", "barrier_before_turn", "barrier_before_command"),
    "M25": ("timers_early", "clock_restarts"),
    "M26": ("no_drain",),
    "M27": ("evicted_in_flight",),
    "M28": ("ready_set",),
    "M29": ("unknown_skipped",),
    "M30": ("grant_without_nonce",),
    "M31": ("effects_reversed",),
    "M32": ("refusal_no_record",),
    "M33": ("delete_unconfirmed", "trim_unreleased"),
    "M34": ("start_at_claim", "start_anywhere", "start_first"),
    "M35": ("carried_confirmed",),
    "M36": ("carried_as_one", "carried_timeless"),
    "M37": ("ckpt_no_reqs", "ckpt_no_applied", "ckpt_no_marks"),
    "M38": ("trimmed_claim_stops", "alarm"),
    "M39": ("forgets_open", "forget_unchecked"),
    "M40": ("count_ignored",),
    "M41": ("strike_not_awaited", "strikes_at_once"),
    "M42": ("copy_retires",),
    "M43": ("offset_after_run",),
}
"""By the number of faults.md."""

OF_THE_MODEL = (
    "claim_trusting",
    "claim_sets",
    "claim_waits",
    "refusal_unordered",
    "refusals_one_first",
    "refusals_one_last",
    "carry_noop",
    "carried_current",
    "late_reader_jumps",
)
"""Further ones, which only the executable model of the protocol names."""

OF_OURS = (
    "link_ignored",
    "suspects_flow",
    "all_are_suspects",
    "group_cleared_early",
    "border_skipped",
    "defects_not_contained",
    "hash_counts_all",
    "group_as_error",
)
"""Of rules that this build has beside those of the design: what a process and its clone have sent ahead (`perdure_schemas.live`),
which inputs are tried apart from the others behind a death (`partition/isolation.py`), what workflow code may hand over
(`_replay/border.py`), what an unexpected exception may end (`partition/containment.py`), the order of tasks on every version of
Python, and groups of exceptions (`perdure._replay`)."""


def numbers_of(name: str) -> str:
    """The misreading that the mutant stands for, or nothing."""
    return next((number for number, names in MISREADINGS.items() if name in names), "")
