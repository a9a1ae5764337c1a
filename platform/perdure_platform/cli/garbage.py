"""How often a process that makes very many objects, and few cycles, looks for garbage."""

from __future__ import annotations

import gc

ALLOCATIONS = 50_000
"""Cycles are collected after so many more objects were made than dropped."""


def collect_seldom() -> None:
    """For owners, and for commands that fold histories; to be called when all code is imported."""
    gc.freeze()  # modules and code do not become garbage
    gc.set_threshold(ALLOCATIONS, 20, 50)
