from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kit.records import RECORDS
from kit.schemas import newest
from perdure_schemas.codec import (
    MAGIC,
    TOPIC_CODECS,
    UnknownSchema,
    encode_history,
    encode_reply,
    released_schemas,
)
from perdure_schemas.commands import ActivityReference, Command, FailActivity, TerminateWorkflow
from perdure_schemas.errors import CodecError
from perdure_schemas.failure import FAILURE_CAUSES_MAX, Failure
from perdure_schemas.replies import Reply, WorkflowsListed

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


def version_of(topic: str, data: bytes) -> int:
    """The version that a record of a topic is written in."""
    written = {
        TOPIC_CODECS[topic].encode(RECORDS[topic][name], number)[:10]: number
        for number in released_schemas(topic)
        for name in ["closed", "claim"]
        if name in RECORDS[topic]
    }
    return written[data[:10]]


@pytest.mark.parametrize("name", RECORDS["replies"])
def test_a_reply_that_says_nothing_new_is_written_for_clients_of_the_release_before(name: str) -> None:
    reply = RECORDS["replies"][name]
    data = encode_reply(reply)
    assert version_of("replies", data) == (2 if name in ("blocked", "described") else 1)
    assert TOPIC_CODECS["replies"].decode(data) == reply, "what the older version leaves out is not nothing"


def test_a_list_is_written_for_older_clients_unless_one_of_its_runs_is_blocked() -> None:
    run = RECORDS["replies"]["described"].body.summary
    for blocked, version in ((False, 1), (True, 2)):
        listed = Reply("request-1", WorkflowsListed((replace(run, blocked=False), replace(run, blocked=blocked))))
        assert version_of("replies", encode_reply(listed)) == version
        assert TOPIC_CODECS["replies"].decode(encode_reply(listed)) == listed


@pytest.mark.parametrize("name", RECORDS["history"])
def test_a_history_is_written_for_owners_of_the_release_before(name: str) -> None:
    record = RECORDS["history"][name]
    data = encode_history(record)
    assert version_of("history", data) == 3
    assert data == (GOLDEN / "v3" / f"history-{name}.bin").read_bytes()
    assert TOPIC_CODECS["history"].decode(data) == record


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
