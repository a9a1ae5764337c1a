"""The checker's own decoder against the product's encoder: every kind of record, and bytes that are none."""

import dataclasses
import types
import typing
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.records import RECORDS
from perdure_check import fold
from perdure_check.avro import KIND, Decoded, Decoder, Undecodable, UnknownFingerprint, fingerprint, record_names
from perdure_check.schemas import decoder, released
from perdure_schemas.codec import TOPIC_CODECS
from perdure_schemas.commands import Command
from perdure_schemas.dead_letters import DeadLetter
from perdure_schemas.errors import CodecError
from perdure_schemas.events import Event
from perdure_schemas.failure import Failure
from perdure_schemas.history import HistoryRecord
from perdure_schemas.notes import Note
from perdure_schemas.replies import Reply
from perdure_schemas.tasks import ActivityTask

GOLDEN = Path(__file__).parents[3] / "schemas" / "golden"
CASES = [(topic, name) for topic, records in RECORDS.items() for name in records]
KINDS: dict[str, Any] = {
    "commands": Command,
    "history": HistoryRecord,
    "replies": Reply,
    "tasks": ActivityTask,
    "dead_letters": DeadLetter,
}


def plain(value: Any) -> Any:
    """A record of the product as the checker's decoder should give it."""
    match value:
        case Failure():
            chain = []
            link: Failure | None = value
            while link is not None:
                texts = {"message": link.message, "stack_trace": link.stack_trace, "source": link.source}
                chain.append({KIND: "Failure", **texts, "info": plain(link.info)})
                link = link.cause
            return chain
        case Enum():
            return value.value
        case tuple():
            return [plain(one) for one in value]
        case dict():
            return {key: plain(one) for key, one in value.items()}
        case _ if dataclasses.is_dataclass(value):
            return {KIND: type(value).__name__, **{f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}}
        case _:
            return value


PRIMITIVES: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    bytes: st.binary(max_size=5),
    type(None): st.none(),
}


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value that a type of the wire allows."""
    if isinstance(kind, typing.NewType):
        return values_of(kind.__supertype__)
    if kind in PRIMITIVES:
        return PRIMITIVES[kind]
    if get_origin(kind) in (typing.Union, types.UnionType):
        return st.one_of([values_of(member) for member in get_args(kind)])
    if get_origin(kind) is tuple:
        return st.lists(st.deferred(lambda: values_of(get_args(kind)[0])), max_size=2).map(tuple)
    if get_origin(kind) is dict:
        return st.dictionaries(PRIMITIVES[str], st.deferred(lambda: values_of(get_args(kind)[1])), max_size=2)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    hints = typing.get_type_hints(kind)
    cause = {"cause": st.none() | st.builds(Failure, PRIMITIVES[str])} if kind is Failure else {}
    fields = {f.name: st.deferred(lambda hint=hints[f.name]: values_of(hint)) for f in dataclasses.fields(kind)}  # type: ignore[misc]
    return st.builds(kind, **{**fields, **cause})


@pytest.mark.parametrize(("topic", "name"), CASES)
def test_golden_bytes_are_what_the_product_wrote(topic: str, name: str) -> None:
    written = sorted(GOLDEN.glob(f"v*/{topic}-{name}.bin"))
    assert written
    for golden in written:
        assert decoder(topic).decode(golden.read_bytes()) == plain(RECORDS[topic][name])


@pytest.mark.parametrize("topic", KINDS)
def test_whatever_the_product_can_write_is_read_alike(topic: str) -> None:
    @settings(max_examples=150)
    @given(values_of(KINDS[topic]))
    def check(value: Any) -> None:
        assert decoder(topic).decode(TOPIC_CODECS[topic].encode(value)) == plain(value)

    check()


@pytest.mark.parametrize(("topic", "name"), CASES)
def test_bytes_that_are_cut_anywhere_or_prolonged_are_no_record(topic: str, name: str) -> None:
    data = TOPIC_CODECS[topic].encode(RECORDS[topic][name])
    for wrong in (*(data[:length] for length in range(len(data))), data + b"\x00", b"\x00" + data[1:]):
        with pytest.raises(Undecodable, match=r"\(byte \d+\)"):
            decoder(topic).decode(wrong)


@settings(max_examples=500)
@given(case=st.sampled_from(CASES), position=st.integers(0, 10_000), byte=st.integers(0, 255), length=st.integers(0, 12))
def test_of_damaged_bytes_both_decoders_think_alike(case: tuple[str, str], position: int, byte: int, length: int) -> None:
    topic, name = case
    data = bytearray(TOPIC_CODECS[topic].encode(RECORDS[topic][name]))
    at = position % len(data)
    data[at : at + length] = bytes([byte]) * (length // 2 + 1)
    try:
        theirs: Any = TOPIC_CODECS[topic].decode(bytes(data))
    except CodecError:
        theirs = None
    try:
        ours: Decoded | None = decoder(topic).decode(bytes(data))
    except Undecodable:
        ours = None
    # The product's library also reads what Avro does not allow (a branch of -1); what it would not write again, the checker may refuse.
    if theirs is not None and (ours is not None or TOPIC_CODECS[topic].encode(theirs) == bytes(data)):
        assert repr(ours) == repr(plain(theirs))  # by their text, since NaN is not equal to itself


def test_an_unknown_fingerprint_is_named() -> None:
    with pytest.raises(UnknownFingerprint, match="3132333435363738"):
        decoder("commands").decode(b"\xc3\x01" + b"12345678" + b"body")


def test_what_an_old_schema_lacks_is_filled_in_with_the_default_of_the_newest() -> None:
    old = {"type": "record", "name": "Thing", "fields": [{"name": "a", "type": "long"}]}
    new = {"type": "record", "name": "Thing", "fields": [*old["fields"], {"name": "b", "type": "bytes", "default": "\u00ff"}]}
    both = Decoder([old, new])
    assert both.decode(b"\xc3\x01" + fingerprint(old) + b"\x04") == {KIND: "Thing", "a": 2, "b": b"\xff"}


def test_the_fold_knows_every_kind_of_event_and_note() -> None:
    """A kind that it does not know would be passed over, and a rule that should look at it forgotten."""
    names = {kind.__name__ for kind in (*get_args(Event), *get_args(Note))}
    assert names == fold.KNOWN_EVENTS | fold.KNOWN_NOTES
    assert names <= record_names(released("history"))
