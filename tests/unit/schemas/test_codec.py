from pathlib import Path
from typing import Any

import pytest

from kit.records import RECORDS
from kit.schemas import newest
from perdure_schemas.codec import FAILURE_CAUSES_MAX, MAGIC, TOPIC_CODECS, UnknownSchema
from perdure_schemas.commands import ActivityReference, Command, FailActivity, TerminateWorkflow
from perdure_schemas.errors import CodecError
from perdure_schemas.failure import Failure

GOLDEN = Path(__file__).parents[3] / "schemas" / "golden"
CASES = [(topic, name) for topic, records in RECORDS.items() for name in records]
RELEASED = [
    (topic, name, version)
    for topic, name in CASES
    for version in range(1, newest(topic)[0] + 1)
    if version == newest(topic)[0] or (GOLDEN / f"v{version}" / f"{topic}-{name}.bin").exists()  # some kinds came later
]


@pytest.mark.parametrize(("topic", "name"), CASES)
def test_a_record_survives_its_encoding(topic: str, name: str) -> None:
    codec = TOPIC_CODECS[topic]
    assert codec.decode(codec.encode(RECORDS[topic][name])) == RECORDS[topic][name]


@pytest.mark.parametrize(("topic", "name", "version"), RELEASED)
def test_golden_bytes_of_every_released_version_are_read_and_those_of_the_newest_written_again(topic: str, name: str, version: int) -> None:
    golden = (GOLDEN / f"v{version}" / f"{topic}-{name}.bin").read_bytes()
    assert TOPIC_CODECS[topic].decode(golden) == RECORDS[topic][name]
    if version == newest(topic)[0]:
        assert TOPIC_CODECS[topic].encode(RECORDS[topic][name]) == golden


@pytest.mark.parametrize("topic", TOPIC_CODECS)
def test_the_newest_schema_is_what_the_dataclasses_say(topic: str) -> None:
    assert newest(topic)[1] == TOPIC_CODECS[topic].schema, "run: PYTHONPATH=tests python -m kit.schemas"


@pytest.mark.parametrize(("topic", "name"), CASES)
def test_cut_or_prolonged_bytes_are_codec_errors(topic: str, name: str) -> None:
    codec = TOPIC_CODECS[topic]
    data = codec.encode(RECORDS[topic][name])
    for wrong in (b"", data[:1], data[:9], data[:-1], data + b"\x00", b"\x00" + data[1:]):
        with pytest.raises(CodecError):
            codec.decode(wrong)


def test_bytes_of_a_newer_schema_are_named_as_such() -> None:
    with pytest.raises(UnknownSchema, match="newer build"):
        TOPIC_CODECS["commands"].decode(MAGIC + b"12345678" + b"body")


@pytest.mark.parametrize("value", [2**63, "x", None])
def test_values_that_the_types_do_not_allow_are_refused_when_written(value: Any) -> None:
    command = Command("a", FailActivity(ActivityReference("run", value), Failure("x")))
    with pytest.raises(CodecError):
        TOPIC_CODECS["commands"].encode(command)


def test_broken_unicode_is_refused_when_written() -> None:
    with pytest.raises(CodecError):
        TOPIC_CODECS["commands"].encode(Command("\ud800", TerminateWorkflow()))


def test_a_chain_of_causes_is_cut_where_it_is_made() -> None:
    failure = Failure("0")
    for depth in range(1, 10_000):
        failure = Failure(str(depth), cause=failure)
    codec = TOPIC_CODECS["commands"]
    read = codec.decode(codec.encode(Command("a", FailActivity(ActivityReference("run", 1), failure))))
    length, link = 0, read.body.failure
    while link is not None:
        length, link = length + 1, link.cause
    assert length == FAILURE_CAUSES_MAX
