"""`module:registry` -> code: what an owner and a worker are given to run."""

from __future__ import annotations

import importlib
import inspect
import sysconfig
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from perdure.converter import DataConverter
from perdure.workflow._activities import ACTIVITY_DEFINITION
from perdure.workflow._definition import WorkflowDefinition
from perdure_schemas import limits
from perdure_schemas.errors import LimitExceeded, PerdureError

_OURS = (str(Path(__file__).parents[1]), str(Path(limits.__file__).parent))
"""Directories of Perdure's own code. Its lines are no help to the user whose code was loaded."""

_INSTALLED = tuple({path for name, path in sysconfig.get_paths().items() if name in ("stdlib", "platstdlib", "purelib", "platlib")})
"""Directories of the interpreter and of installed libraries."""

_ABSENT: Any = object()


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
        limits.check_task_queue(self.task_queue)
        if self.max_concurrent_activities is not None and self.max_concurrent_activities < 1:
            raise RegistryError(f"max_concurrent_activities is {self.max_concurrent_activities}; it must be 1 or more")
        names: dict[tuple[str, str | None], str] = {}
        for cls in self.workflows:
            try:
                name = WorkflowDefinition.must_of(cls).name
            except ValueError as error:
                raise RegistryError(f"{error}{_defined_at(cls)}") from None
            _add(names, "workflow", name, cls)
        for activity in self.activities:
            definition = getattr(activity, ACTIVITY_DEFINITION, None)
            if definition is None and callable(activity):
                definition = getattr(type(activity).__call__, ACTIVITY_DEFINITION, None)
            if definition is None:
                shown = getattr(activity, "__qualname__", activity)
                raise RegistryError(f"{shown!r} is not an activity: decorate it with @activity.defn{_defined_at(activity)}")
            _add(names, "activity", definition.name, activity)


def _add(names: dict[tuple[str, str | None], str], what: str, name: str | None, thing: Any) -> None:
    shown = str(getattr(thing, "__qualname__", thing)) + _defined_at(thing)
    if (what, name) in names:
        named = f"called {name!r}" if name else "dynamic"
        raise RegistryError(f"two of the {what} definitions are {named}: {names[what, name]} and {shown}")
    names[what, name] = shown


def _defined_at(thing: Any) -> str:
    """Where the user wrote a class or a function, for the end of a sentence; empty where Python does not know."""
    thing = inspect.unwrap(thing) if callable(thing) else type(thing)
    try:
        file, (_, line) = inspect.getsourcefile(thing), inspect.getsourcelines(thing)
    except (TypeError, OSError):
        return ""
    return f" ({file}, line {max(line, 1)})" if file and not _is_of(file, _OURS) else ""


def load_registry(place: str) -> Registry:
    """The registry at `module:attribute`. Raises RegistryError that names the line of the user's code, where one is to blame."""
    module_name, colon, attribute = place.partition(":")
    if not (module_name and colon and attribute):
        raise RegistryError(f"{place!r} does not say where the code is; write module:attribute, for example app:registry")
    if module_name.endswith(".py") or module_name.startswith(".") or "/" in module_name:
        name = module_name.removesuffix(".py").strip("./").replace("/", ".")
        raise RegistryError(f"{module_name!r} is a path, and a module's name was expected; write {name}:{attribute}")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise RegistryError(
                f"there is no module {module_name!r}: run the command in the directory that holds it, or set PYTHONPATH"
            ) from None
        where = _blamed(error.__traceback__)
        raise RegistryError(f"module {module_name!r} imports {error.name!r}, which is not installed{where}") from error
    except SyntaxError as error:
        where = f" ({error.filename}, line {error.lineno})"
        raise RegistryError(f"module {module_name!r} cannot be imported: {type(error).__name__}: {error.msg}{where}") from error
    except (RegistryError, LimitExceeded) as error:
        raise RegistryError(f"module {module_name!r}: {error}{_blamed(error.__traceback__)}") from error
    except SystemExit as error:
        where = _blamed(error.__traceback__)
        raise RegistryError(f"module {module_name!r} ends the process as it is imported: SystemExit({error.code!r}){where}") from error
    except Exception as error:
        where = _blamed(error.__traceback__)
        raise RegistryError(f"module {module_name!r} cannot be imported: {type(error).__name__}: {error}{where}") from error
    file = f" ({module.__file__})" if module.__file__ else ""
    found = getattr(module, attribute, _ABSENT)
    if found is _ABSENT:
        candidates = ", ".join(name for name, value in vars(module).items() if isinstance(value, Registry)) or "none"
        raise RegistryError(f"module {module_name!r}{file} has no {attribute!r}; registries in it: {candidates}")
    if not isinstance(found, Registry):
        made = "perdure.Registry(task_queue=…, workflows=[…], activities=[…])"
        raise RegistryError(f"{place}{file} is no registry but of type {type(found).__name__}; make it a {made}")
    return found


def _blamed(trace: TracebackType | None) -> str:
    """The line of the user's code that was being executed last, for the end of a sentence.

    Lines of the interpreter, of this package and of other libraries are passed over, as long as there is one of the user's.
    """
    lines = [line for line in traceback.extract_tb(trace) if line.filename[:1] != "<" and not _is_of(line.filename, _OURS)]
    lines = [line for line in lines if Path(line.filename).parent.name != "importlib"]
    own = [line for line in lines if not _is_of(line.filename, _INSTALLED)] or lines
    return f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""


def _is_of(file: str, directories: tuple[str, ...]) -> bool:
    return any(Path(file).is_relative_to(directory) for directory in directories)
