"""The policies on the wire, under the names that users know."""

from perdure_schemas.options import IdConflictPolicy, IdReusePolicy, QueryRejectCondition

WorkflowIDReusePolicy = IdReusePolicy
"""May a closed workflow's id be started again?"""

WorkflowIDConflictPolicy = IdConflictPolicy
"""What does a start do whose id is open?"""

__all__ = ["QueryRejectCondition", "WorkflowIDConflictPolicy", "WorkflowIDReusePolicy"]
