"""Span ids that follow from what they describe, so that a replay or a takeover makes the same span and not another (design.md 9)."""

from __future__ import annotations

import hashlib

_PARTS = 4


def derived_span_id(run_id: str, *parts: object) -> str:
    """The span id, in hexadecimal, of something that belongs to a run."""
    return hashlib.blake2b(repr((run_id, *parts)).encode(), digest_size=8).hexdigest()


def run_span_id(run_id: str) -> str:
    """The span of a run."""
    return derived_span_id(run_id, "run")


def child_trace_parent(trace_parent: str, span_id: str) -> str:
    """The W3C traceparent of span `span_id` in the trace of `trace_parent`; empty where there is no trace."""
    parts = trace_parent.split("-")
    if len(parts) != _PARTS:
        return ""
    return f"{parts[0]}-{parts[1]}-{span_id}-{parts[3]}"
