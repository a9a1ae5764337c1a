"""Choices that workflows, activities and clients share."""

from perdure.common._policies import QueryRejectCondition, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from perdure.common._raw_value import RawValue
from perdure.common._retry_policy import RetryPolicy

__all__ = ["QueryRejectCondition", "RawValue", "RetryPolicy", "WorkflowIDConflictPolicy", "WorkflowIDReusePolicy"]
