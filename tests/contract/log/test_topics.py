"""What the Log promises about topics, offsets and deletion."""

from __future__ import annotations

import pytest

from kit.media import Medium, append, read_from, until, values
from perdure._log.errors import LogUnavailable, OffsetOutOfRange, TopicNotFound
from perdure._log.port import Log
from perdure_schemas.topics import TopicSpec, namespace_topics


def test_a_new_topic_is_described_as_it_was_asked_for(medium: Medium, log: Log) -> None:
    name = medium.name()
    assert log.describe_topics([name], 5000) == {}
    log.create_topics([TopicSpec(name, 3, {"cleanup.policy": "delete", "retention.ms": "-1"})], 60_000)
    found = log.describe_topics([name, medium.name()], 5000)
    assert list(found) == [name]
    assert (found[name].name, found[name].partitions) == (name, 3)
    assert found[name].topic_id
    assert found[name].settings["cleanup.policy"] == "delete"
    assert found[name].settings["retention.ms"] == "-1"


def test_topics_have_ids_of_their_own_which_stay(medium: Medium, log: Log) -> None:
    first, second = medium.topic(log), medium.topic(log)
    here = log.describe_topics([first, second], 5000)
    assert here[first].topic_id != here[second].topic_id
    assert medium.open().describe_topics([first, second], 5000) == here


def test_an_existing_topic_is_left_as_it_is(medium: Medium, log: Log) -> None:
    name, other = medium.topic(log, 2), medium.name()
    append(log, name, [b"kept"])
    before = log.describe_topics([name], 5000)
    log.create_topics([TopicSpec(name, 5, {"retention.ms": "1"}), TopicSpec(other, 1)], 60_000)
    after = log.describe_topics([name, other], 5000)
    assert after[name] == before[name]
    assert after[other].partitions == 1
    assert values(read_from(log, {(name, 0): 0}, 1)) == [b"kept"]


def test_all_topics_of_a_namespace_can_be_made(medium: Medium, log: Log) -> None:
    namespace = medium.name()
    specs = namespace_topics(namespace, 3)
    log.create_topics(specs, 60_000)
    found = log.describe_topics([spec.name for spec in specs], 5000)
    for spec in specs:
        assert found[spec.name].partitions == spec.partitions
        assert found[spec.name].settings.items() >= spec.settings.items()


def test_topics_are_listed_by_the_beginning_of_their_names(medium: Medium, log: Log) -> None:
    prefix = medium.name()
    names = [f"{prefix}.tasks.b", f"{prefix}.tasks.a", f"{prefix}.history"]
    log.create_topics([TopicSpec(name, 1) for name in names], 60_000)
    until(lambda: log.list_topics(prefix, 5000) == sorted(names), "the listing of all three")
    assert log.list_topics(f"{prefix}.tasks.", 5000) == [f"{prefix}.tasks.a", f"{prefix}.tasks.b"]
    assert log.list_topics(f"{prefix}%", 5000) == []


def test_offsets_say_where_a_partition_starts_and_ends(medium: Medium, log: Log) -> None:
    topic = medium.topic(log, 2)
    both = [(topic, 0), (topic, 1)]
    assert log.end_offsets(both, 5000) == log.start_offsets(both, 5000) == {(topic, 0): 0, (topic, 1): 0}
    append(log, topic, [b"a", b"b", b"c"], 1)
    assert log.end_offsets(both, 5000) == {(topic, 0): 0, (topic, 1): 3}
    assert log.start_offsets(both, 5000) == {(topic, 0): 0, (topic, 1): 0}
    assert log.end_offsets([], 5000) == {}


def test_requested_end_offsets_include_what_was_acknowledged_before(medium: Medium, log: Log) -> None:
    topic = medium.topic(log, 2)
    for number in range(1, 6):
        append(log, topic, [b"x"], 1)
        request = log.request_end_offsets([(topic, 0), (topic, 1)])
        until(lambda request=request: request.result() is not None, "an answer")  # type: ignore[misc]
        assert request.result() == {(topic, 0): 0, (topic, 1): number}


def test_a_request_for_offsets_of_a_topic_that_is_not_there_is_to_be_repeated(medium: Medium, log: Log) -> None:
    """Brokers learn of a topic only after its making was acknowledged, and those that start may not know it yet."""
    missing = medium.name()
    refused = log.request_end_offsets([(missing, 0)])
    with pytest.raises(LogUnavailable, match=missing):
        until(lambda: refused.result() is not None, "an answer")
    log.create_topics([TopicSpec(missing, 1)], 20_000)
    request = log.request_end_offsets([(missing, 0)])
    until(lambda: request.result() is not None, "an answer")
    assert request.result() == {(missing, 0): 0}


def test_offsets_of_a_topic_that_is_not_there_are_an_error(medium: Medium, log: Log) -> None:
    missing = medium.name()
    with pytest.raises(TopicNotFound, match=missing):
        log.end_offsets([(missing, 0)], 20_000)
    with pytest.raises(TopicNotFound, match=missing):
        log.start_offsets([(missing, 0)], 20_000)


def test_truncating_deletes_a_prefix_and_leaves_the_offsets_of_the_rest(medium: Medium, log: Log) -> None:
    topic = medium.topic(log, 2)
    for partition in (0, 1):
        append(log, topic, [b"%d" % number for number in range(100)], partition)
    log.truncate_before(topic, 0, 63, 10_000)
    log.truncate_before(topic, 0, 20, 10_000)  # already gone
    assert log.start_offsets([(topic, 0), (topic, 1)], 5000) == {(topic, 0): 63, (topic, 1): 0}
    assert log.end_offsets([(topic, 0)], 5000) == {(topic, 0): 100}
    records = read_from(log, {(topic, 0): 63}, 37)
    assert [(record.offset, record.value) for record in records] == [(number, b"%d" % number) for number in range(63, 100)]
    assert len(read_from(log, {(topic, 1): 0}, 100)) == 100


def test_offsets_do_not_come_back_after_everything_was_truncated(medium: Medium) -> None:
    log = medium.open()
    topic = medium.topic(log)
    append(log, topic, [b"a", b"b", b"c"])
    log.truncate_before(topic, 0, 3, 10_000)
    assert log.start_offsets([(topic, 0)], 5000) == log.end_offsets([(topic, 0)], 5000) == {(topic, 0): 3}
    log.close()
    again = medium.open()
    assert again.end_offsets([(topic, 0)], 5000) == {(topic, 0): 3}
    append(again, topic, [b"d"])
    assert [(record.offset, record.value) for record in read_from(again, {(topic, 0): 3}, 1)] == [(3, b"d")]


def test_truncating_above_the_end_is_an_error(medium: Medium, log: Log) -> None:
    topic = medium.topic(log)
    append(log, topic, [b"a"])
    with pytest.raises(OffsetOutOfRange):
        log.truncate_before(topic, 0, 2, 10_000)
    assert log.start_offsets([(topic, 0)], 5000) == {(topic, 0): 0}


def test_the_address_is_shown_for_messages(medium: Medium, log: Log) -> None:
    assert log.url.startswith(f"{medium.kind}:")
    assert log.default_partitions >= 1
    assert log.creates_namespaces == (medium.kind != "kafka")
