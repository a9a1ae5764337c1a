"""What a transfer does in the world: three calls to the bank, each harmless when repeated."""

from __future__ import annotations

import os

from perdure import activity
from transfer import bank
from transfer.shared import PaymentDetails


class InvalidAccountError(Exception):
    """There is no such account; trying again will not help."""


class InsufficientFundsError(Exception):
    """The account holds too little; trying again will not help."""


class BankUnavailableError(Exception):
    """The bank is down; the retry policy tries again."""


_ERRORS: dict[str, type[Exception]] = {
    error.__name__: error for error in (InvalidAccountError, InsufficientFundsError, BankUnavailableError)
}


class BankingActivities:
    """The bank at `address`, or at the one in TRANSFER_BANK."""

    def __init__(self, address: str | None = None) -> None:
        self._address = address or os.environ.get("TRANSFER_BANK", bank.DEFAULT_ADDRESS)

    @activity.defn
    async def withdraw(self, details: PaymentDetails) -> str:
        """Take the money from the source account."""
        return await self._move("withdraw", details.source_account, details.amount_cents, f"{details.reference_id}-withdrawal")

    @activity.defn
    async def deposit(self, details: PaymentDetails) -> str:
        """Give the money to the target account."""
        return await self._move("deposit", details.target_account, details.amount_cents, f"{details.reference_id}-deposit")

    @activity.defn
    async def refund(self, details: PaymentDetails) -> str:
        """Give the money back to the source account."""
        return await self._move("deposit", details.source_account, details.amount_cents, f"{details.reference_id}-refund")

    async def _move(self, operation: str, account: str, cents: int, reference: str) -> str:
        answer = await bank.call(self._address, operation=operation, account=account, cents=cents, reference=reference)
        if not answer["ok"]:
            raise _ERRORS.get(answer["error"], BankUnavailableError)(answer["message"])
        return str(answer["confirmation"])
