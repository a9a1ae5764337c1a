"""What the workflow, its activities and its callers have in common."""

from dataclasses import dataclass

TASK_QUEUE = "transfers"


@dataclass(frozen=True)
class PaymentDetails:
    """One transfer. `reference_id` makes its movements at the bank unique, however often they are asked for."""

    source_account: str
    target_account: str
    amount_cents: int
    reference_id: str
