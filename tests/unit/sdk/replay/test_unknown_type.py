"""A type that no owner knows is told with the names that it does know, those that may be meant first."""

import pytest

from perdure import workflow
from perdure._replay.host import ActivationError, RunStart
from perdure._replay.runtime import NAMES_SHOWN_MAX, CodeHost
from perdure_schemas.events import WorkflowExecutionStarted


class Plain:
    async def run(self) -> None: ...


workflow.run(Plain.run)


def known(wanted: str, *names: str) -> str:
    """What is said about a type that is wanted where others are known."""
    classes = [
        workflow.defn(name=name)(type(f"Workflow{number}", (Plain,), {"__module__": __name__, "run": Plain.run}))
        for number, name in enumerate(names)
    ]
    host = CodeHost(classes, deadlock_timeout_ms=0)
    with pytest.raises(ActivationError) as caught:
        host.open(RunStart("default", "wf-1", "run-1", 1, WorkflowExecutionStarted(wanted, "q", (), "run-1")), ())
    return caught.value.failure.message.partition("which knows: ")[2].partition(". The run waits")[0]


@pytest.mark.parametrize("wanted", ["MoneyTranfer", "moneytransfer", "MoneyTransfers"])
def test_names_like_the_wanted_one_come_first(wanted: str) -> None:
    assert known(wanted, "Audit", "MoneyTransfer", "Zoo") == "MoneyTransfer, Audit, Zoo"


def test_without_a_like_name_they_are_in_order() -> None:
    assert known("Qqqq", "Zoo", "Audit") == "Audit, Zoo"
    assert known("Qqqq") == "none"


def test_of_very_many_names_the_first_are_shown() -> None:
    said = known("Type77", *(f"Type{number:03}" for number in range(100)))
    assert said.startswith("Type077, ")
    assert said.count(",") == NAMES_SHOWN_MAX - 1
    assert said.endswith(f" and {100 - NAMES_SHOWN_MAX} more")
