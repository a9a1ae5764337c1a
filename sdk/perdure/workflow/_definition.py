"""What the decorators find out about a workflow class, with every problem named at once."""

from __future__ import annotations

import functools
import inspect
import sys
import typing
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import Any, TypeVar, Unpack, overload

from perdure._foreign_options import DEFINITION, NoOptions, sift
from perdure.common import RawValue
from perdure.converter._annotations import Unresolved, annotations_of

ClassT = TypeVar("ClassT", bound=type)
CallableT = TypeVar("CallableT", bound=Callable[..., Any])
InitT = TypeVar("InitT", bound=Callable[..., None])
RunT = TypeVar("RunT", bound=Callable[..., Awaitable[Any]])

_DEFINITION = "__perdure_workflow_definition__"
_RUN = "__perdure_workflow_run__"
_INIT = "__perdure_workflow_init__"
_SIGNAL = "__perdure_workflow_signal__"
_QUERY = "__perdure_workflow_query__"


class HandlerUnfinishedPolicy(IntEnum):
    """What happens when a workflow ends while a signal handler still runs."""

    WARN_AND_ABANDON = 1
    ABANDON = 2


@dataclass(frozen=True)
class Parameters:
    """The hints of a function's positional parameters. `hints` is None unless all have one; `rest` is that of `*args`, if it has one."""

    hints: tuple[Any, ...] | None
    rest: Any = None
    is_variadic: bool = False

    def of(self, count: int) -> list[Any] | None:
        """The hints of a call with `count` arguments; None where they do not fit, because then none is used (semantics 28)."""
        if self.hints is None or (self.rest is None and count > len(self.hints)):
            return None
        return [*self.hints, *[self.rest] * (count - len(self.hints))]

    @staticmethod
    def find(function: Callable[..., Any], *, skip_self: bool) -> Parameters:
        """Those of a function, a method, a partial, or an object that can be called."""
        try:
            listed = list(inspect.signature(function).parameters.values())[1 if skip_self else 0 :]
        except (TypeError, ValueError):  # some of the interpreter's own functions do not tell
            return Parameters(None)
        annotated = annotations_of(_annotated(function))
        positional = [p for p in listed if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        variadic = [p for p in listed if p.kind is p.VAR_POSITIONAL]
        hints = None if any(p.name not in annotated for p in positional) else tuple(annotated[p.name] for p in positional)
        return Parameters(hints, annotated.get(variadic[0].name) if variadic else None, bool(variadic))


@dataclass(frozen=True)
class SignalDefinition:
    """A signal handler. `name` None is the dynamic one; `arguments` is what runs without the flag TYPED_VALUES decode by."""

    name: str | None
    function: Callable[..., Any]
    is_bound: bool = False
    arguments: list[Any] | None = None
    unfinished_policy: HandlerUnfinishedPolicy = HandlerUnfinishedPolicy.WARN_AND_ABANDON

    @cached_property
    def parameters(self) -> Parameters:
        """What it takes. Found when it is first called, because annotations may name what the module defines below it."""
        return Parameters.find(self.function, skip_self=not self.is_bound)


@dataclass(frozen=True)
class QueryDefinition:
    """A query handler. `name` None is the dynamic one; `arguments` as for a signal."""

    name: str | None
    function: Callable[..., Any]
    is_bound: bool = False
    arguments: list[Any] | None = None

    @cached_property
    def parameters(self) -> Parameters:
        """What it takes, as for a signal."""
        return Parameters.find(self.function, skip_self=not self.is_bound)

    @cached_property
    def result(self) -> Any:
        """The annotation of its answer."""
        return result_hint(self.function)


@dataclass(frozen=True)
class WorkflowDefinition:
    """A workflow class as the runtime needs it. `name` None is the dynamic one."""

    name: str | None
    cls: type
    run: Callable[..., Awaitable[Any]]
    arguments: list[Any] | None
    init_takes_arguments: bool
    signals: dict[str | None, SignalDefinition] = field(default_factory=dict)
    queries: dict[str | None, QueryDefinition] = field(default_factory=dict)
    failure_exception_types: tuple[type[BaseException], ...] = ()

    @cached_property
    def parameters(self) -> Parameters:
        """What the run method takes, found when it is first asked for."""
        return Parameters.find(self.run, skip_self=True)

    @cached_property
    def result(self) -> Any:
        """The annotation of the result."""
        return result_hint(self.run)

    @staticmethod
    def of(cls: type) -> WorkflowDefinition | None:
        """The definition of a decorated class; it is not inherited."""
        found = cls.__dict__.get(_DEFINITION)
        return found if isinstance(found, WorkflowDefinition) else None

    @staticmethod
    def of_target(workflow: Any) -> WorkflowDefinition | None:
        """The definition of a workflow that is named by its class or by its run method; None for anything else."""
        if isinstance(workflow, type):
            return WorkflowDefinition.of(workflow)
        function = getattr(workflow, "__func__", workflow)  # of an object's method
        place: Any = sys.modules.get(getattr(function, "__module__", None) or "")
        for name in getattr(function, "__qualname__", "").split(".")[:-1]:
            place = getattr(place, name, None)  # workflows are at the top level of modules, so the method's own name tells where
        definition = WorkflowDefinition.of(place) if isinstance(place, type) else None
        return definition if definition is not None and definition.run is function else None

    @staticmethod
    def must_of(cls: type) -> WorkflowDefinition:
        """The same. Raises ValueError for a class that is not decorated."""
        found = WorkflowDefinition.of(cls) if isinstance(cls, type) else None
        if found is None:
            raise ValueError(f"{getattr(cls, '__qualname__', cls)!r} is not a workflow: decorate the class with @workflow.defn")
        return found


@overload
def defn(cls: ClassT) -> ClassT: ...


@overload
def defn(
    *,
    name: str | None = None,
    sandboxed: bool = True,
    dynamic: bool = False,
    failure_exception_types: Sequence[type[BaseException]] = (),
) -> Callable[[ClassT], ClassT]: ...


def defn(
    cls: Any = None,
    *,
    name: str | None = None,
    sandboxed: bool = True,  # noqa: ARG001 - accepted for programs that come from Temporal
    dynamic: bool = False,
    failure_exception_types: Sequence[type[BaseException]] = (),
    **options: Unpack[NoOptions],
) -> Any:
    """Make a class a workflow, under its own name unless `name` is given; `dynamic` makes it the one for all unknown names.

    An exception of `failure_exception_types` fails the workflow instead of blocking it. `sandboxed` is accepted and has no effect:
    what workflow code must not touch is refused while it runs. Raises ValueError that lists everything that is wrong.
    """
    sift("workflow.defn", options, DEFINITION)
    if name is not None and dynamic:
        raise RuntimeError("a dynamic workflow has no name; give one of name and dynamic")

    def decorate(decorated: ClassT) -> ClassT:
        definition = _define(decorated, None if dynamic else name or decorated.__name__, tuple(failure_exception_types))
        setattr(decorated, _DEFINITION, definition)
        return decorated

    return decorate if cls is None else decorate(cls)


def run(function: RunT) -> RunT:
    """Mark the one async method that is the workflow."""
    if not inspect.iscoroutinefunction(function):
        raise ValueError(f"{function.__qualname__}: the run method must be async")
    if "<locals>" in function.__qualname__:
        raise ValueError(f"{function.__qualname__}: a workflow must be a class at the top level of a module, or it cannot be found again")
    setattr(function, _RUN, True)
    return function  # type: ignore[return-value,unused-ignore]  # narrowed by the check above


def init(function: InitT) -> InitT:
    """Mark an `__init__` that takes the same parameters as the run method."""
    if function.__name__ != "__init__":
        raise ValueError("@workflow.init goes on __init__ only")
    setattr(function, _INIT, True)
    return function


@overload
def signal(function: CallableT) -> CallableT: ...


@overload
def signal(
    *,
    name: str | None = None,
    dynamic: bool = False,
    unfinished_policy: HandlerUnfinishedPolicy = HandlerUnfinishedPolicy.WARN_AND_ABANDON,
    description: str | None = None,
) -> Callable[[CallableT], CallableT]: ...


def signal(
    function: Any = None,
    *,
    name: str | None = None,
    dynamic: bool = False,
    unfinished_policy: HandlerUnfinishedPolicy = HandlerUnfinishedPolicy.WARN_AND_ABANDON,
    description: str | None = None,
) -> Any:
    """Mark a method, sync or async, as the handler of a signal.

    A dynamic one takes `(self, name: str, args: Sequence[RawValue])`; one with `*args` gets decoded values. Raises ValueError for others.
    """
    del description  # shown by tools that do not exist yet
    _not_both(name, dynamic)

    def decorate(decorated: CallableT) -> CallableT:
        handler = SignalDefinition(
            None if dynamic else name or decorated.__name__,
            decorated,
            arguments=None if dynamic else argument_types(decorated, skip_self=True),
            unfinished_policy=unfinished_policy,
        )
        if dynamic:
            check_dynamic(handler, "signal")
        setattr(decorated, _SIGNAL, handler)
        return decorated

    return decorate if function is None else decorate(function)


@overload
def query(function: CallableT) -> CallableT: ...


@overload
def query(*, name: str | None = None, dynamic: bool = False, description: str | None = None) -> Callable[[CallableT], CallableT]: ...


def query(function: Any = None, *, name: str | None = None, dynamic: bool = False, description: str | None = None) -> Any:
    """Mark a method as the handler of a query: it reads, and changes nothing. A dynamic one takes what a dynamic signal handler takes."""
    del description
    _not_both(name, dynamic)

    def decorate(decorated: CallableT) -> CallableT:
        handler = QueryDefinition(
            None if dynamic else name or decorated.__name__,
            decorated,
            arguments=None if dynamic else argument_types(decorated, skip_self=True),
        )
        if dynamic:
            check_dynamic(handler, "query")
        setattr(decorated, _QUERY, handler)
        return decorated

    return decorate if function is None else decorate(function)


def signal_name(function: Any) -> str | None:
    """The name of a decorated signal handler; None if it is none."""
    found = getattr(function, _SIGNAL, None)
    return found.name if isinstance(found, SignalDefinition) else None


def query_definition(function: Any) -> QueryDefinition | None:
    """What @query found out about a handler; None if it is none."""
    found = getattr(function, _QUERY, None)
    return found if isinstance(found, QueryDefinition) else None


def check_dynamic(handler: SignalDefinition | QueryDefinition, what: str) -> None:
    """Raise ValueError for a dynamic handler that takes neither of the two forms."""
    if Parameters.find(handler.function, skip_self=not handler.is_bound).is_variadic:
        return
    takes = list(inspect.signature(handler.function).parameters.values())[0 if handler.is_bound else 1 :]
    annotated = annotations_of(_annotated(handler.function))
    hint = annotated.get(takes[1].name) if len(takes) == 2 else RawValue
    if len(takes) == 2 and (hint is None or isinstance(hint, Unresolved) or typing.get_args(hint) == (RawValue,)):
        return
    raise ValueError(
        f"the dynamic {what} handler {getattr(handler.function, '__qualname__', handler.function)} takes neither (name: str, args: "
        "Sequence[RawValue]) nor (name: str, *args), beside self: read raw values with workflow.payload_converter().from_payload(value, "
        "Type), or take decoded ones with *args"
    )


def result_hint(function: Callable[..., Any]) -> Any:
    """The annotation of what a function returns; None where it has none."""
    return annotations_of(_annotated(function)).get("return")


def _annotated(function: Any) -> Any:
    """The function that has the annotations of what can be called."""
    while isinstance(function, functools.partial):
        function = function.func
    return function if inspect.isroutine(function) or isinstance(function, type) else type(function).__call__


def argument_types(function: Callable[..., Any], *, skip_self: bool) -> list[Any] | None:
    """The annotations of the positional parameters as far as they are known when a module is loaded; None unless all are."""
    parameters = list(inspect.signature(function).parameters.values())[1 if skip_self else 0 :]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    hints = _hints(function)
    if any(p.name not in hints for p in positional):
        return None
    return [hints[p.name] for p in positional]


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception:  # noqa: BLE001 - annotations that cannot be resolved are as good as none
        return {}


def _not_both(name: str | None, dynamic: bool) -> None:
    if name is not None and dynamic:
        raise RuntimeError("a dynamic handler has no name; give one of name and dynamic")


def _define(cls: type, name: str | None, failure_exception_types: tuple[type[BaseException], ...]) -> WorkflowDefinition:
    problems: list[str] = []
    runs = [member for member in cls.__dict__.values() if getattr(member, _RUN, False)]
    if not runs:
        inherited = any(getattr(getattr(base, attribute, None), _RUN, False) for base in cls.__mro__[1:] for attribute in vars(base))
        problems.append(
            "its run method is inherited; override it and decorate it with @workflow.run here"
            if inherited
            else "it has no method decorated with @workflow.run"
        )
    if len(runs) > 1:
        problems.append(f"it has several run methods: {', '.join(member.__name__ for member in runs)}")
    signals: dict[str | None, SignalDefinition] = {}
    queries: dict[str | None, QueryDefinition] = {}
    for attribute in _attributes(cls):
        member = getattr(cls, attribute, None)
        _collect(getattr(member, _SIGNAL, None), SignalDefinition, signals, "signal", problems)
        _collect(getattr(member, _QUERY, None), QueryDefinition, queries, "query", problems)
    problems.extend(_undecorated_overrides(cls))
    constructor: Any = vars(cls).get("__init__", object.__init__)
    takes_arguments = getattr(constructor, _INIT, False)
    if takes_arguments and runs and not _same_parameters(constructor, runs[0]):
        problems.append("@workflow.init needs the same parameters on __init__ as on the run method")
    if name is None and runs and argument_types(runs[0], skip_self=True) != [Sequence[RawValue]]:
        problems.append("a dynamic workflow's run method takes one Sequence[RawValue]")
    if problems:
        raise ValueError(f"invalid workflow {cls.__qualname__}: " + "; ".join(problems))
    return WorkflowDefinition(
        name,
        cls,
        runs[0],
        None if name is None else argument_types(runs[0], skip_self=True),
        bool(takes_arguments),
        signals,
        queries,
        failure_exception_types,
    )


def _attributes(cls: type) -> list[str]:
    seen: dict[str, None] = {}
    for base in cls.__mro__:
        seen.update(dict.fromkeys(base.__dict__))
    return list(seen)


def _collect(found: Any, kind: type, into: dict[Any, Any], what: str, problems: list[str]) -> None:
    if isinstance(found, kind):
        name = found.name  # type: ignore[attr-defined]
        if name in into:
            problems.append(f"two handlers for {what} {name!r}" if name else f"two dynamic {what} handlers")
        into[name] = found


def _undecorated_overrides(cls: type) -> list[str]:
    problems = []
    for attribute, member in cls.__dict__.items():
        for mark, decorator in ((_RUN, "run"), (_SIGNAL, "signal"), (_QUERY, "query")):
            inherited = any(getattr(base.__dict__.get(attribute), mark, None) for base in cls.__mro__[1:])
            if inherited and not getattr(member, mark, None):
                problems.append(f"{attribute} overrides a method with @workflow.{decorator}, and has no @workflow.{decorator} itself")
    return problems


def _same_parameters(first: Callable[..., Any], second: Callable[..., Any]) -> bool:
    def plain(function: Callable[..., Any]) -> list[tuple[Any, ...]]:
        return [(p.kind, p.default, p.annotation) for p in list(inspect.signature(function).parameters.values())[1:]]

    return plain(first) == plain(second)
