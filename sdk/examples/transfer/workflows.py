"""The transfer itself: withdraw, then deposit, and give the money back if the deposit cannot be made."""

from datetime import timedelta

from perdure import workflow
from perdure.common import RetryPolicy
from perdure.exceptions import ActivityError
from transfer.activities import BankingActivities
from transfer.shared import PaymentDetails

RETRY_POLICY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=100),
    maximum_attempts=0,  # as often as it takes
    non_retryable_error_types=["InvalidAccountError", "InsufficientFundsError"],
)

BANK_CALL = workflow.ActivityConfig(
    start_to_close_timeout=timedelta(minutes=1),
    heartbeat_timeout=timedelta(seconds=10),  # no call takes nearly as long, so a worker that was killed is noticed sooner
    retry_policy=RETRY_POLICY,
)


@workflow.defn
class MoneyTransfer:
    """Moves money between two accounts, whatever crashes on the way."""

    @workflow.run
    async def run(self, details: PaymentDetails) -> str:
        """Return both confirmations; fail if the money could not be taken, or was given back."""
        withdrawn = await workflow.execute_activity_method(BankingActivities.withdraw, details, **BANK_CALL)
        try:
            deposited = await workflow.execute_activity_method(BankingActivities.deposit, details, **BANK_CALL)
        except ActivityError:
            await workflow.execute_activity_method(BankingActivities.refund, details, **BANK_CALL)
            workflow.logger.info("the deposit failed; %s got its money back", details.source_account)
            raise
        return f"{withdrawn}, {deposited}"
