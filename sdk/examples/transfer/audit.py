"""Does the bank's ledger agree with what the workflows say? The part of the demo that would notice lost or doubled money."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from transfer.bank import ACCOUNTS, OPENING_CENTS

MOVEMENTS = {
    "completed": ("withdrawal", "deposit"),
    "refunded": ("withdrawal", "refund"),
    "refused": (),
}
"""How a transfer can end, and the movements at the bank that belong to each ending: exactly these, each once."""


def disagreements(outcomes: Mapping[str, str], references: Sequence[str], total_cents: int) -> list[str]:
    """What is wrong, in sentences; empty if every cent is accounted for. `outcomes` maps each reference id to its ending."""
    problems = []
    if total_cents != ACCOUNTS * OPENING_CENTS:
        problems.append(f"the accounts hold {total_cents / 100:,.2f} instead of {ACCOUNTS * OPENING_CENTS / 100:,.2f}")
    expected = Counter(
        f"{reference_id}-{movement}" for reference_id, outcome in outcomes.items() for movement in MOVEMENTS.get(outcome, ())
    )
    found = Counter(references)
    problems += [f"{reference} is missing at the bank" for reference in expected - found]
    problems += [f"{reference} moved money at the bank, but no transfer accounts for it" for reference in found - expected]
    problems += [f"{reference_id} ended as {outcome}" for reference_id, outcome in outcomes.items() if outcome not in MOVEMENTS]
    return problems
