"""Everything that an owner and a worker must know: `perdure dev transfer.app:registry`."""

from perdure import Registry
from transfer.activities import BankingActivities
from transfer.shared import TASK_QUEUE
from transfer.workflows import MoneyTransfer

_bank = BankingActivities()

registry = Registry(
    task_queue=TASK_QUEUE,
    workflows=[MoneyTransfer],
    activities=[_bank.withdraw, _bank.deposit, _bank.refund],
)
