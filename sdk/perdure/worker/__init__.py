"""Runs activities and workflows."""

from perdure.worker._worker import Worker

__all__ = ["Worker"]
