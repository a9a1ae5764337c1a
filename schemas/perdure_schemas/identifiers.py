"""The names by which records refer to things; plain strings and numbers on the wire."""

from typing import NewType

WorkflowId = NewType("WorkflowId", str)
"""The business key: unique among the open workflows of a namespace, at most 1,000 bytes of UTF-8."""

RunId = NewType("RunId", str)
"""One execution of a workflow id; a new one after continue-as-new, retry or another start."""

ClaimNumber = NewType("ClaimNumber", int)
"""Position of a claim in its partition's chain of claims, from 1; 0 means that nobody has claimed yet."""

ClaimId = NewType("ClaimId", str)
"""Random name of one claim, so that a copied or forged number is not taken for the original."""

NO_CLAIM = ClaimId("")
"""What the first claim of a partition names as the claim before it."""
