"""Which commands no owner can use, judged here without asking one: design.md 5, schemas/README.md, faults.md D1."""

from __future__ import annotations

from perdure_check.avro import KIND
from perdure_check.facts import Arrived
from perdure_check.placement import partition_of

ID_BYTES_MAX = 1000
OF_THE_PARTITION = frozenset({"ListWorkflows", "DescribePartition"})
"""Commands that are about no workflow."""


FORGED = "forged"
"""Why owners with token keys set a command aside that no owner has signed; without their keys nobody else can tell."""

REPORTS = frozenset({"ActivityStarted", "ActivityHeartbeat", "CompleteActivity", "FailActivity", "CancelActivity"})
"""Commands that carry the token of their task."""


def can_be_forged(arrived: Arrived) -> bool:
    """Whether a command is of a kind that owners sign or have signed."""
    return arrived.body is not None and (arrived.body["origin"] is not None or arrived.body["body"][KIND] in REPORTS)


def poison(arrived: Arrived, partitions: int, format_level: int) -> str:
    """The reason why a command must become a dead letter; empty if it need not."""
    if arrived.body is None:
        return "undecodable"
    command = arrived.body
    if command["format_level"] > format_level:
        return "unknown_format"
    if command["body"][KIND] in OF_THE_PARTITION:
        return ""
    workflow_id: str = command["workflow_id"]
    if not 0 < len(workflow_id.encode()) <= ID_BYTES_MAX or any(ord(character) < 32 for character in workflow_id):
        return "invalid_workflow_id"
    return "wrong_partition" if partition_of(workflow_id, partitions) != arrived.record.partition else ""
