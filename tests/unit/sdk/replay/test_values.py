"""Values that come to workflow code and leave it: as their hints say, or an error that names whose they are."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kit.code import Code, kinds, signal, value
from perdure import workflow
from perdure._replay.activate import BEHAVIOUR, TYPED_VALUES
from perdure._replay.host import ActivationError, QueryError
from perdure._replay.values_before import converter_before
from perdure.common import RawValue
from perdure.converter import CompositePayloadConverter, DataConverter, JSONPlainPayloadConverter

sys.path.insert(0, str(Path(__file__).parent))
flows: Any = importlib.import_module("handler_workflows")

BEFORE = tuple(flag for flag in BEHAVIOUR if flag != TYPED_VALUES)
ORDER = {"name": "a", "data": [1, 2]}


@pytest.fixture(autouse=True)
def seen() -> Iterator[list[Any]]:
    flows.seen.clear()
    yield flows.seen
    flows.seen.clear()


def test_handlers_set_at_run_time_get_what_they_are_annotated_with(seen: list[Any]) -> None:
    code = Code(flows.AtRunTime)
    code.begin(signal("order", ORDER), signal("plain", ORDER))  # these wait for their handlers
    order = flows.Order("a", b"\x01\x02")
    assert seen == [order, ORDER]
    seen.clear()
    code.happen(signal("several", ORDER, {"name": "b"}), signal("object", ORDER), signal("partial", ORDER))
    assert seen == [order, flows.Order("b"), order, ("p", order)]
    assert code.instance.query("find", value(ORDER) + value(2), {}) == value([{"data": [1, 2], "name": "a"}] * 2)
    assert seen[-1] == order
    code.close()


def test_a_signal_that_a_late_handler_cannot_read_is_dropped_and_named(seen: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    code = Code(flows.AtRunTime)
    code.begin(signal("order", 5), signal("order", ORDER))
    assert seen == [flows.Order("a", b"\x01\x02")]
    assert "input of signal 'order': expected an object for Order, got 5" in caplog.text
    with pytest.raises(QueryError, match="input of query 'find': expected an object for Order"):
        code.instance.query("find", value("x"), {})
    code.close()


def test_dynamic_handlers_get_raw_values_and_those_with_args_decoded_ones(seen: list[Any]) -> None:
    code = Code(flows.Dynamic)
    code.begin(signal("first", ORDER))
    code.happen(signal("change"))
    code.happen(signal("second", ORDER, {"name": "b"}))
    order = flows.Order("a", b"\x01\x02")
    assert seen == [("first", [order]), (True, True), True, ("second", (order, flows.Order("b")))]
    assert code.instance.query("what", value(1) + value("x"), {}) == value(["what", 1, "x"])
    seen.clear()
    again = code.replay()
    assert len(seen) == 4
    for one in (code, again):
        one.close()


def test_a_dynamic_handler_of_neither_form_is_refused() -> None:
    code = Code(flows.Wrong)
    with pytest.raises(ActivationError, match=r"dynamic signal handler Wrong\.handle takes neither \(name: str, args: Sequence"):
        code.begin()
    for decorator in (workflow.signal, workflow.query):
        with pytest.raises(ValueError, match="takes neither"):

            @decorator(dynamic=True)
            def handle(self: Any, name: str, args: list[str]) -> None: ...

        @decorator(dynamic=True)
        def old(self: Any, name: str, *args: Any) -> None: ...

        @decorator(dynamic=True)
        def new(self: Any, name: str, args: list[RawValue]) -> None: ...


def test_annotations_may_name_what_is_defined_below(seen: list[Any]) -> None:
    code = Code(flows.Later, value({"x": 1}))
    code.begin(signal("more", {"x": 2}))
    assert seen == [flows.Below(2), flows.Below(1)]
    code.close()


def test_an_error_names_the_workflow_or_handler_whose_value_it_is() -> None:
    for arguments, message in [
        (value(5), "input of workflow 'Flow': expected an object for Order, got 5"),
        (value(ORDER), "result of workflow 'Flow': a value of class builtins.object cannot be written"),
    ]:
        code = Code(flows.Unwritable, arguments)
        with pytest.raises(ActivationError, match=message):
            code.begin()
        code.close()


class TestRunsFromBefore:
    """A run that began without the flag meets the values that it met then."""

    def test_handlers_set_at_run_time_get_plain_values(self, seen: list[Any]) -> None:
        code = Code(flows.AtRunTime, flags=BEFORE)
        code.begin(signal("order", ORDER))
        code.happen(signal("several", ORDER), signal("object", ORDER))
        assert seen == [ORDER, ORDER, ORDER]
        assert TYPED_VALUES not in code.flags
        code.close()

    def test_dynamic_handlers_with_args_get_raw_values(self, seen: list[Any]) -> None:
        code = Code(flows.Dynamic, flags=BEFORE)
        code.begin()
        code.happen(signal("change"))
        code.happen(signal("second", 1))
        assert seen[-1] == ("second", ([RawValue(value(1)[0])],))
        code.close()

    def test_annotations_that_were_not_known_when_the_module_was_loaded_are_not_used(self, seen: list[Any]) -> None:
        code = Code(flows.Later, value({"x": 1}), flags=BEFORE)
        assert kinds(code.begin(signal("more", {"x": 2}))) == ["CompleteWorkflow"]
        assert seen == [{"x": 2}, {"x": 1}]
        code.close()

    def test_values_are_written_and_read_as_they_were(self) -> None:
        class Unknown:
            def __iter__(self) -> Iterator[int]:
                return iter([1, 2])

        before = converter_before(DataConverter.default.payload_converter)
        assert before.to_payload(Unknown()).data == b"[1,2]"
        assert before.from_payload(value([1, 2])[0], Unknown) == [1, 2]
        assert before.from_payload(before.to_payload(b"x"), str) == b"x"
        assert before.from_payload(value(2.5)[0], int) == 2
        with pytest.raises(TypeError):
            before.to_payload({"a": b"x"})

        class Own(CompositePayloadConverter):
            pass

        own = Own(JSONPlainPayloadConverter())
        assert converter_before(own) is own
