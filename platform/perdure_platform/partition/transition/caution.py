"""What a partition knows of deaths of its owners; folded from claims and strikes (design.md 5, faults.md R14)."""

from __future__ import annotations

from dataclasses import replace

from perdure_schemas.history import Caution, Checkpoint, Claim, CommitRecord, HistoryRecord, PositionRecord, Strike

DEATHS_KEPT = 16
STRIKES_KEPT = 16
"""Maximum number of workflow ids whose strikes are kept; the one that struck longest ago is forgotten first."""

GROUP = "\x00group"
"""Workflow id, which no workflow can have, of a strike that announces several suspects."""


def advance_caution(caution: Caution, record: HistoryRecord, time_ms: int) -> Caution:
    """What is known behind a live record, `time_ms` being its recorded time."""
    match record:
        case Claim():
            return _claimed(caution, record, time_ms)
        case Strike():
            return replace(caution, struck=record.workflow_id, is_struck=True, resigned=False)
        case Checkpoint():
            return record.caution  # who has read from further back has come to the same
        case PositionRecord(resigned=True):
            return replace(caution, struck="", is_struck=False, resigned=True)  # who leaves does not try what it has announced
        case CommitRecord() if _is_group_tried(caution):
            return caution  # it may be the first of many; a position record says that all of the group have been tried
        case _:
            if not caution.is_struck and not caution.resigned:
                return caution
            strikes = {name: count for name, count in caution.strikes.items() if not caution.is_struck or name != caution.struck}
            return replace(caution, strikes=strikes, struck="", is_struck=False, resigned=False)


def _claimed(caution: Caution, claim: Claim, time_ms: int) -> Caution:
    """Who claims again has survived, whatever made it lose its claim; so has one that resigned."""
    deaths = {instance: died_ms for instance, died_ms in caution.deaths.items() if instance != claim.instance_id}
    is_same = bool(claim.instance_id) and claim.instance_id == caution.instance_id
    if is_same or caution.resigned or claim.claim_number == 1:
        return Caution(deaths, caution.strikes, instance_id=claim.instance_id)
    deaths[caution.instance_id] = time_ms
    for oldest in list(deaths)[:-DEATHS_KEPT]:
        del deaths[oldest]
    strikes = caution.strikes
    if caution.is_struck:
        others = [(name, count) for name, count in strikes.items() if name != caution.struck]
        strikes = dict([*others, (caution.struck, strikes.get(caution.struck, 0) + 1)][-STRIKES_KEPT:])
    return Caution(deaths, strikes, instance_id=claim.instance_id)


def _is_group_tried(caution: Caution) -> bool:
    return caution.is_struck and caution.struck == GROUP


def last_death_ms(caution: Caution) -> int:
    """Recorded time at which the last death of an owner was found, by the claim of the next one; 0 for no death."""
    return max(caution.deaths.values(), default=0)
