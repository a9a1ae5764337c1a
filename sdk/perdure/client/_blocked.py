"""What a client logs while it awaits a workflow whose code is blocked: the wait itself goes on, as long as it takes."""

from __future__ import annotations

import logging
import shlex

from perdure_schemas.replies import WorkflowBlocked

logger = logging.getLogger("perdure.client")


class BlockedLog:
    """Logs what blocks the runs that one call awaits, each failure once: owners tell it again whenever they are asked."""

    def __init__(self, namespace: str, workflow_id: str) -> None:
        self._namespace = namespace
        self._workflow_id = workflow_id
        self._told: set[tuple[str, str]] = set()

    def __call__(self, blocked: WorkflowBlocked) -> None:
        """Log it, unless that was done before."""
        failure = blocked.failure
        kind = str(getattr(failure.info, "type", ""))
        said = f"{kind}: {failure.message}" if kind else failure.message
        if (blocked.run_id, said) in self._told:
            return
        self._told.add((blocked.run_id, said))
        goes_on = "it is tried again, and goes on once its code is put right" if blocked.retry_time_ms else "it waits for an operator"
        logger.warning(
            "workflow %r (run %s of namespace %s) is blocked: %s; %s. See perdure workflow describe %s",
            self._workflow_id,
            blocked.run_id,
            self._namespace,
            said,
            goes_on,
            shlex.quote(self._workflow_id),
        )
