"""What an unexpected exception may end: the decision, the read or the span in which it came up, and never the partition (P9).

Code of users, their values and our own defects meet in one thread that leads a partition for thousands of runs. What is known to go wrong
has its error and its place. This is the last line of defence, for what nobody has thought of: the run is blocked, or its command is set
aside, and the traceback is told.

Two things are not contained. Errors that say that this owner may not or cannot lead, `ENDS_A_CLAIM`. And whatever fails over a record that
has been appended already (its confirmation, its rows, its effects): the record counts for every reader, so going on without what belongs to
it would lose it in silence, where stopping shows it.
"""

from __future__ import annotations

import traceback

from perdure._log.errors import LogError
from perdure_platform.partition.confirm import Retired
from perdure_platform.partition.decode import DEAD_LETTER_VALUE_BYTES_MAX
from perdure_platform.partition.rebuild import HistoryGap
from perdure_platform.store.port import StoreDamaged, StoreUnavailable
from perdure_schemas.codec import encode_command
from perdure_schemas.commands import Command
from perdure_schemas.dead_letters import DeadLetter
from perdure_schemas.errors import LogCorrupt
from perdure_schemas.failure import ApplicationFailureInfo, Failure
from perdure_schemas.text import kind_of, text
from perdure_schemas.topics import commands_topic

ENDS_A_CLAIM: tuple[type[Exception], ...] = (Retired, HistoryGap, LogCorrupt, StoreDamaged, StoreUnavailable, LogError)
"""What goes on to `node/assignment.py`, whatever was being done when it came up."""

DEFECT = "defect"
"""The reason of a dead letter whose command could not be decided."""


def as_failure(error: Exception) -> Failure:
    """The error as a run shows it to who asks."""
    stack_trace = text("".join(traceback.format_exception(error)))
    return Failure(f"a defect in the owner: {brief(error)}", stack_trace, "perdure", None, ApplicationFailureInfo(kind_of(error)))


def brief(error: Exception) -> str:
    """The error in a line."""
    return f"{kind_of(error)}: {text(error)}"[:2_000]


def dead_letter(namespace: str, partition: int, offset: int, command: Command, error: Exception, now_ms: int) -> DeadLetter:
    """What operators see of a command that could not be decided; its value is encoded anew, and the original is in the commands topic."""
    key, value = command.workflow_id.encode(), encode_command(command)[:DEAD_LETTER_VALUE_BYTES_MAX]
    return DeadLetter(commands_topic(namespace), partition, offset, DEFECT, brief(error), key, value, now_ms)
