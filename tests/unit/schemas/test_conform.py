"""What fits into a field, as what it comes out, and what the error says of what does not fit."""

from __future__ import annotations

import uuid
from enum import StrEnum
from typing import Any

import pytest

from perdure_schemas.codec import encode_command
from perdure_schemas.commands import ActivityReference, Command, FailActivity, SignalWorkflow, StartWorkflow
from perdure_schemas.conform import Misfit, conformed
from perdure_schemas.errors import CodecError
from perdure_schemas.failure import ApplicationFailureInfo, Failure, TimeoutFailureInfo, TimeoutType
from perdure_schemas.options import IdReusePolicy, RetryOptions
from perdure_schemas.payload import Payload
from perdure_schemas.text import described, text


class Name(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError("no")


class Colour(StrEnum):
    RED = "red"


class Unspeakable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


GOOD = Payload({"encoding": b"json/plain"}, b"1")
ODD: dict[str, tuple[Any, str]] = {
    "a UUID as a name": (SignalWorkflow(uuid.UUID(int=1)), r"name is UUID\('0"),  # type: ignore[arg-type]
    "None as a name": (SignalWorkflow(None), "name is None"),  # type: ignore[arg-type]
    "half a character": (SignalWorkflow("a\udcff"), "lone surrogates"),
    "a class": (RetryOptions(non_retryable_error_types=("a", ValueError)), r"non_retryable_error_types\[1\] is <class 'ValueError'>"),  # type: ignore[arg-type]
    "text for many": (RetryOptions(non_retryable_error_types="ab"), "must be a sequence"),  # type: ignore[arg-type]
    "a float for a count": (RetryOptions(maximum_attempts=3.0), "must be a whole number"),  # type: ignore[arg-type]
    "too many": (RetryOptions(maximum_attempts=10**30), "64 bits"),
    "too large for a float": (RetryOptions(backoff_coefficient=10**400), "a float can hold"),
    "no payload": (SignalWorkflow("a", input=(5,)), r"input\[0\] is 5 \(an int\), and must be a Payload"),  # type: ignore[arg-type]
    "text as data": (SignalWorkflow("a", input=(Payload({}, "x"),)), r"input\[0\].data is 'x' \(a str\), and must be bytes"),  # type: ignore[arg-type]
    "text as metadata": (SignalWorkflow("a", input=(Payload({"e": "x"}),)), r"input\[0\].metadata\['e'\] is 'x'"),  # type: ignore[dict-item]
    "a number as a key": (SignalWorkflow("a", header={5: GOOD}), r"header\[a name in it\] is 5"),  # type: ignore[dict-item]
    "no member": (StartWorkflow("a", "b", id_reuse_policy=77), "ALLOW_DUPLICATE"),  # type: ignore[arg-type]
    "no info": (Failure("a", info="b"), "info is 'b' .*ApplicationFailureInfo or"),  # type: ignore[arg-type]
    "deep in a cause": (Failure("a", cause=Failure("b", cause=Failure(5))), "cause.cause.message is 5"),  # type: ignore[arg-type]
    "no repr": (SignalWorkflow(Unspeakable()), "a Unspeakable whose repr fails"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("what", list(ODD))
def test_what_does_not_fit_is_named_with_its_place_and_its_type(what: str) -> None:
    value, said = ODD[what]
    with pytest.raises(Misfit, match=said):
        conformed(value)


@pytest.mark.parametrize("what", [what for what, (value, _) in ODD.items() if isinstance(value, SignalWorkflow)])
def test_the_codec_takes_none_of_it(what: str) -> None:
    with pytest.raises(CodecError):
        encode_command(Command("id", ODD[what][0]))


def test_subclasses_come_out_plain_and_are_encoded_as_they_were() -> None:
    odd = StartWorkflow(
        Name("a"),
        Colour.RED,
        [Payload({Name("e"): bytearray(b"x")}, memoryview(b"y"))],  # type: ignore[arg-type,dict-item]
        id_reuse_policy=1,  # type: ignore[arg-type]
        retry_options=RetryOptions(True, 2, non_retryable_error_types=["a"]),  # type: ignore[arg-type]
    )
    plain = conformed(odd)
    wanted = StartWorkflow(
        "a",
        "red",
        (Payload({"e": b"x"}, b"y"),),
        id_reuse_policy=IdReusePolicy.ALLOW_DUPLICATE,
        retry_options=RetryOptions(1, 2.0, non_retryable_error_types=("a",)),
    )
    assert plain == wanted
    assert {type(plain.workflow_type), type(plain.task_queue)} == {str}
    assert encode_command(Command("id", plain)) == encode_command(Command("id", wanted))


def test_what_fits_stays_the_same_object() -> None:
    info = TimeoutFailureInfo(TimeoutType.HEARTBEAT, (GOOD,))
    for value in (
        RetryOptions(),
        Failure("a", "b", "c", Failure("d", info=info), ApplicationFailureInfo("e", True)),
        FailActivity(ActivityReference("run", 5, 1), Failure("a")),
    ):
        assert conformed(value) is value


def test_text_of_whatever_there_is() -> None:
    assert text("a\udcff") == "a\\udcff"
    assert text("ä") == "ä"
    assert text(ValueError("x")) == "x"
    assert text(None) == "None"
    assert type(text(Colour.RED)) is str
    assert text(Name("kept")) == "kept"
    assert "cannot be made: RuntimeError" in text(Unspeakable())
    assert described(5) == "5 (an int)"
    assert described(None) == "None"
    assert len(described("x" * 10_000)) < 300
