"""What @activity.defn accepts, and what the functions of the module do outside of an activity."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from perdure import activity
from perdure.activity import ActivityDefinition, NotInActivityError
from perdure.common import RawValue
from perdure.workflow._activities import activity_target


def test_a_function_gets_its_own_name_or_the_given_one() -> None:
    @activity.defn
    async def plain(number: int) -> str:
        raise NotImplementedError

    @activity.defn(name="other")
    def named(anything) -> None: ...  # type: ignore[no-untyped-def]

    found = ActivityDefinition.must_of(plain)
    assert (found.name, found.is_async, found.parameters.hints) == ("plain", True, (int,))
    found = ActivityDefinition.must_of(named)
    assert (found.name, found.is_async, found.parameters.hints) == ("other", False, None)


def test_methods_and_callable_classes_leave_self_out() -> None:
    class Shop:
        @activity.defn
        async def sell(self, what: str) -> int:
            raise NotImplementedError

    @activity.defn(no_thread_cancel_exception=True)
    class Buy:
        def __call__(self, what: str, count: int) -> int:
            raise NotImplementedError

    assert ActivityDefinition.must_of(Shop().sell).parameters.hints == (str,)
    found = ActivityDefinition.must_of(Buy())
    assert (found.name, found.parameters.hints, found.no_thread_cancel_exception) == ("Buy", (str, int), True)


evaluations: list[str] = []


def evaluated() -> type[int]:
    """An annotation that tells how often it is looked at."""
    evaluations.append("int")
    return int


def test_annotations_are_resolved_once_however_often_an_activity_is_started() -> None:
    class Till:
        @activity.defn
        async def count(self, what: str) -> int:
            raise NotImplementedError

        @activity.defn
        def __call__(self, what: str) -> int:
            raise NotImplementedError

    for method in (Till.count, Till.__call__):
        method.__annotations__["return"] = "evaluated()"  # as `from __future__ import annotations` leaves it
    evaluations.clear()
    till = Till()
    assert {activity_target(one) for _ in range(100) for one in (Till.count, till.count)} == {("count", int)}
    assert {activity_target(one) for _ in range(100) for one in (Till, till)} == {("__call__", int)}
    assert len(evaluations) == 2


def test_an_annotation_may_name_what_is_defined_below_its_function() -> None:
    @activity.defn
    async def early(what: str) -> None:
        raise NotImplementedError

    early.__annotations__["return"] = "Later"
    scope = early.__globals__
    scope["Later"] = later = type("Later", (), {})
    try:
        assert activity_target(early) == ("early", later)
    finally:
        del scope["Later"]


def test_workflow_code_finds_name_and_result_type() -> None:
    class Shop:
        @activity.defn(name="sale")
        async def sell(self, what: str) -> int:
            raise NotImplementedError

    @activity.defn
    class Buy:
        def __call__(self, what: str) -> bytes:
            raise NotImplementedError

    assert activity_target(Shop.sell) == ("sale", int)
    assert activity_target(Shop().sell) == ("sale", int)
    assert activity_target(Buy) == ("Buy", bytes)
    assert activity_target(Buy()) == ("Buy", bytes)


def test_a_dynamic_activity_has_no_name() -> None:
    @activity.defn(dynamic=True)
    async def anything(arguments: Sequence[RawValue]) -> Any:
        raise NotImplementedError

    assert ActivityDefinition.must_of(anything).name is None
    with pytest.raises(TypeError, match="dynamic activity has no name"):
        activity_target(anything)
    with pytest.raises(RuntimeError, match="one of name and dynamic"):
        activity.defn(name="x", dynamic=True)


def test_what_cannot_be_an_activity_is_refused() -> None:
    def with_keyword(*, number: int) -> None: ...

    @activity.defn
    def twice() -> None: ...

    class NotCallable: ...

    with pytest.raises(TypeError, match="keyword-only"):
        activity.defn(with_keyword)
    with pytest.raises(ValueError, match="already"):
        activity.defn(twice)
    with pytest.raises(TypeError, match="cannot be called"):
        activity.defn(NotCallable)
    with pytest.raises(ValueError, match=r"@activity\.defn"):
        ActivityDefinition.must_of(with_keyword)


def test_a_subclass_of_a_decorated_class_may_be_decorated_under_its_own_name() -> None:
    @activity.defn
    class Base:
        def __call__(self) -> None: ...

    @activity.defn
    class Derived(Base):
        def __call__(self) -> None: ...

    assert ActivityDefinition.must_of(Base()).name == "Base"
    assert ActivityDefinition.must_of(Derived()).name == "Derived"


@pytest.mark.parametrize("call", [activity.info, activity.heartbeat, activity.is_cancelled, activity.payload_converter])
def test_outside_of_an_activity_the_functions_say_so(call: Any) -> None:
    assert not activity.in_activity()
    with pytest.raises(NotInActivityError, match="inside of an activity"):
        call()


def test_the_logger_works_outside_of_an_activity(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        activity.logger.info("plain")
    assert caplog.messages == ["plain"]
    assert activity.logger.logger.name == "perdure.activity"
