"""Runs the activities of a queue: the path of a task is poll -> execute -> report."""

from perdure._activity_worker.worker import ActivityWorker

__all__ = ["ActivityWorker"]
