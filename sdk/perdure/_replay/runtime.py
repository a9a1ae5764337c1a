"""The host of workflow code in this process: opens runs, and takes them from activation to activation.

`CodeHost` knows the classes; `activate.CodeInstance` is one run of one of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

from perdure._replay import refuse
from perdure._replay.activate import CodeInstance
from perdure._replay.host import REFUSED_BY, ActivationError, RunStart, WorkflowInstance
from perdure._replay.primitives import substitute
from perdure._replay.watchdog import Watchdog, end_process
from perdure.converter import DataConverter
from perdure.workflow._definition import WorkflowDefinition
from perdure_schemas.failure import ApplicationFailureInfo, Failure

DEADLOCK_TIMEOUT_MS = 2_000
"""How long one activation may keep its thread."""

NAMES_SHOWN_MAX = 20
"""Names of workflow types that the error about an unknown one lists."""


class CodeHost:
    """Workflow classes of one process. Raises ValueError for what is not a workflow, or for two of one name."""

    def __init__(
        self,
        workflows: Sequence[type],
        *,
        data_converter: DataConverter = DataConverter.default,
        workflow_failure_exception_types: Sequence[type[BaseException]] = (),
        deadlock_timeout_ms: int = DEADLOCK_TIMEOUT_MS,
        on_stuck: Callable[[str], None] = end_process,
    ) -> None:
        self._definitions: dict[str | None, WorkflowDefinition] = {}
        for cls in workflows:
            definition = WorkflowDefinition.must_of(cls)
            if definition.name in self._definitions:
                other = self._definitions[definition.name].cls.__qualname__
                raise ValueError(f"two workflows are called {definition.name!r}: {other} and {cls.__qualname__}")
            self._definitions[definition.name] = definition
        self._data_converter = data_converter
        self._failure_types = tuple(workflow_failure_exception_types)
        self._watchdog = Watchdog(deadlock_timeout_ms, on_stuck)
        substitute.install()
        refuse.install({definition.cls.__module__ for definition in self._definitions.values()})

    @property
    def names(self) -> list[str]:
        """Names of the workflows, sorted."""
        return sorted(name for name in self._definitions if name is not None)

    def open(self, start: RunStart, flags: tuple[int, ...]) -> WorkflowInstance:
        """An instance that has not been activated. Raises ActivationError if there is no such workflow type here."""
        definition = self._definitions.get(start.started.workflow_type) or self._definitions.get(None)
        if definition is None:
            known = _known(start.started.workflow_type, self.names)
            raise ActivationError(
                Failure(
                    f"workflow type {start.started.workflow_type!r} (workflow {start.workflow_id!r}) is not registered with this owner, "
                    f"which knows: {known}. The run waits until an owner that knows it takes over",
                    source=REFUSED_BY,
                    info=ApplicationFailureInfo(type="NotFoundError"),
                )
            )
        return CodeInstance(definition, start, flags, self._data_converter, self._failure_types, self._watchdog)


def _known(wanted: str, names: list[str]) -> str:
    """The names that are known, those like the wanted one first, and not all of very many."""
    like = difflib.get_close_matches(wanted.lower(), [name.lower() for name in names], n=len(names) or 1)
    ordered = sorted(names, key=lambda name: (like.index(name.lower()) if name.lower() in like else len(like), name))
    more = f" and {len(ordered) - NAMES_SHOWN_MAX} more" if len(ordered) > NAMES_SHOWN_MAX else ""
    return (", ".join(ordered[:NAMES_SHOWN_MAX]) or "none") + more
