"""One file for each invariant of faults.md 4, and the list of them."""

from __future__ import annotations

from perdure_check.context import Context
from perdure_check.rules.acknowledged import Acknowledged
from perdure_check.rules.activities import Activities
from perdure_check.rules.bank import BankBalances
from perdure_check.rules.base import Rule
from perdure_check.rules.effects import EffectsComplete, FencedHaveNoEffect
from perdure_check.rules.fail_stop import FailStop
from perdure_check.rules.isolation import Isolation
from perdure_check.rules.linear import Linear
from perdure_check.rules.liveness import Liveness
from perdure_check.rules.once import AppliedOnce
from perdure_check.rules.order import TimeAndOrder
from perdure_check.rules.outside import Bounded, ReplayedAlike
from perdure_check.rules.positions import PositionsRise
from perdure_check.rules.single_writer import SingleWriter
from perdure_check.rules.state import StateIsFold
from perdure_check.rules.takeover import TakeoverHygiene
from perdure_check.rules.timers import Timers

RULES: tuple[type[Rule], ...] = (
    Acknowledged,
    SingleWriter,
    Linear,
    AppliedOnce,
    Activities,
    StateIsFold,
    ReplayedAlike,
    Liveness,
    FencedHaveNoEffect,
    EffectsComplete,
    Timers,
    TimeAndOrder,
    Isolation,
    Bounded,
    PositionsRise,
    TakeoverHygiene,
    FailStop,
    BankBalances,
)
"""In the order of their invariants, I1 to I18."""


def make_rules(context: Context) -> list[Rule]:
    """One of each."""
    return [rule(context) for rule in RULES]
