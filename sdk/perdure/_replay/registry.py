"""`module:registry` -> code: what an owner and a worker are given to run."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from perdure.converter import DataConverter
from perdure.workflow._activities import ACTIVITY_DEFINITION
from perdure.workflow._definition import WorkflowDefinition
from perdure_schemas.errors import PerdureError
from perdure_schemas.limits import check_id


class RegistryError(PerdureError):
    """The code cannot be loaded as asked; the message says what to change."""


@dataclass(frozen=True)
class Registry:
    """The workflows and activities of a program, and how they are run.

    `task_queue` is where its worker listens. Sync activities run in `activity_executor` (a pool of threads if none is given).
    `max_concurrent_activities` None is 100. Raises RegistryError for what is not decorated, or two of one name.
    """

    task_queue: str
    workflows: Sequence[type] = ()
    activities: Sequence[Callable[..., Any]] = ()
    data_converter: DataConverter = field(default_factory=lambda: DataConverter.default)
    workflow_failure_exception_types: Sequence[type[BaseException]] = ()
    activity_executor: Executor | None = None
    max_concurrent_activities: int | None = None

    def __post_init__(self) -> None:
        check_id("task queue", self.task_queue)
        names: dict[tuple[str, str | None], str] = {}
        for cls in self.workflows:
            try:
                name = WorkflowDefinition.must_of(cls).name
            except ValueError as error:
                raise RegistryError(str(error)) from None
            _add(names, "workflow", name, cls)
        for activity in self.activities:
            definition = getattr(activity, ACTIVITY_DEFINITION, None) or getattr(type(activity).__call__, ACTIVITY_DEFINITION, None)
            if definition is None:
                raise RegistryError(f"{getattr(activity, '__qualname__', activity)!r} is not an activity: decorate it with @activity.defn")
            _add(names, "activity", definition.name, activity)


def _add(names: dict[tuple[str, str | None], str], what: str, name: str | None, thing: Any) -> None:
    shown = str(getattr(thing, "__qualname__", thing))
    if (what, name) in names:
        named = f"called {name!r}" if name else "dynamic"
        raise RegistryError(f"two of the {what} definitions are {named}: {names[what, name]} and {shown}")
    names[what, name] = shown


def load_registry(place: str) -> Registry:
    """The registry at `module:attribute`. Raises RegistryError."""
    module_name, colon, attribute = place.partition(":")
    if not (module_name and colon and attribute):
        raise RegistryError(f"{place!r} does not say where the code is; write module:attribute, for example app:registry")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise RegistryError(
                f"there is no module {module_name!r}: run the command in the directory that holds it, or set PYTHONPATH"
            ) from None
        raise RegistryError(f"module {module_name!r} imports {error.name!r}, which is not installed") from error
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise RegistryError(
            f"module {module_name!r} cannot be imported: {type(error).__name__}: {error} ({last.filename}, line {last.lineno})"
        ) from error
    found = getattr(module, attribute, None)
    if found is None:
        candidates = ", ".join(name for name, value in vars(module).items() if isinstance(value, Registry)) or "none"
        raise RegistryError(f"module {module_name!r} has no {attribute!r}; registries in it: {candidates}")
    if not isinstance(found, Registry):
        raise RegistryError(f"{place} is a {type(found).__name__}; make it a perdure.Registry(task_queue=…, workflows=[…], activities=[…])")
    return found
