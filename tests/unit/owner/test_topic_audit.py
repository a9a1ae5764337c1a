"""Before an owner claims anything it looks at the topics: settings, number of partitions, and whether they are those of the claims."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from kit.world import FIRST, NAMESPACE, SECOND, STEP_MS, Process, World, commands_of, history_of, open_account, plain
from perdure._log.memory import MemoryLog
from perdure._log.port import Record
from perdure._replay.runtime import CodeHost
from perdure_platform.node.assignment import Stage
from perdure_platform.node.embedded import EmbeddedOwner
from perdure_platform.node.topics import NamespaceNotFound, TopicsUnsafe, describe_namespace, ensure_namespace
from perdure_schemas.codec import decode_history
from perdure_schemas.commands import SignalWorkflow
from perdure_schemas.errors import LogCorrupt, PerdureError
from perdure_schemas.history import Claim
from perdure_schemas.topics import TopicSpec

UNSAFE = [
    ("cleanup.policy", "compact", "delete"),
    ("cleanup.policy", "compact,delete", "delete"),
    ("retention.ms", "604800000", "-1"),
    ("retention.bytes", "1073741824", "-1"),
    ("message.timestamp.type", "CreateTime", "LogAppendTime"),
    ("max.message.bytes", "1048588", "8388608"),
]


def namespace() -> MemoryLog:
    """A log with the topics of a namespace."""
    log = MemoryLog()
    ensure_namespace(log, NAMESPACE)
    return log


def refusal(log: MemoryLog) -> PerdureError:
    """What an owner process says that is started here. It must not have appended anything."""
    before = ends(log)
    with pytest.raises((TopicsUnsafe, LogCorrupt)) as refused:
        EmbeddedOwner(log, NAMESPACE, CodeHost([], deadlock_timeout_ms=0)).start()
    assert ends(log) == before, "something was claimed"
    return refused.value


def ends(log: MemoryLog) -> dict[tuple[str, int], int]:
    topics = log.describe_topics([f"{NAMESPACE}.history", f"{NAMESPACE}.commands"], 0)
    return log.end_offsets([(name, partition) for name, topic in topics.items() for partition in range(topic.partitions)], 0)


def settings(log: MemoryLog, topic: str) -> dict[str, str]:
    return log.medium._topics[f"{NAMESPACE}.{topic}"].settings


def grow(log: MemoryLog, *topics: str) -> None:
    """Add a partition, as `kafka-topics --alter --partitions` does."""
    for topic in topics:
        partitions = log.medium._topics[f"{NAMESPACE}.{topic}"].partitions
        partitions.append(type(partitions[0])())


def make_anew(log: MemoryLog, topic: str) -> list[list[Record]]:
    """Delete a topic and make it again, empty; what it held, by partition."""
    gone = log.medium._topics.pop(f"{NAMESPACE}.{topic}")
    log.create_topics([TopicSpec(f"{NAMESPACE}.{topic}", len(gone.partitions), gone.settings)], 0)
    return [partition.records for partition in gone.partitions]


def led() -> World:
    """A world in which both partitions have been led, by a process that is gone now."""
    world = World()
    world.ask("account-0", open_account())
    world.start()
    world.run_until_done()
    world.lose_process(0)
    return world


def steps(world: World, count: int) -> None:
    for _ in range(count):
        world.step()


def failures(process: Process) -> dict[int, str]:
    return {partition: str(error) for partition, error in process.node.stopped()}


# -- settings


@pytest.mark.parametrize("topic", ["history", "commands"])
@pytest.mark.parametrize(("setting", "actual", "wanted"), UNSAFE)
def test_an_unsafe_setting_is_named_with_its_topic_and_its_remedy_and_nothing_is_claimed(
    topic: str, setting: str, actual: str, wanted: str
) -> None:
    log = namespace()
    settings(log, topic)[setting] = actual
    said = str(refusal(log))
    assert f"{NAMESPACE}.{topic} has {setting}={actual}, and it must be {wanted}: " in said
    assert f"kafka-configs --bootstrap-server {log.url} --alter " in said
    assert f"--entity-type topics --entity-name {NAMESPACE}.{topic} --add-config {setting}={wanted}" in said


def test_topics_that_take_larger_records_than_there_are_may_do_so() -> None:
    log = namespace()
    settings(log, "history")["max.message.bytes"] = "16777216"
    describe_namespace(log, NAMESPACE)


async def test_an_owner_starts_once_the_setting_is_set_back() -> None:
    log = namespace()
    settings(log, "history")["cleanup.policy"] = "compact"
    refusal(log)
    settings(log, "history")["cleanup.policy"] = "delete"
    owner = EmbeddedOwner(log, NAMESPACE, CodeHost([], deadlock_timeout_ms=0))
    owner.start()
    assert owner.wait_ready(10_000)
    await owner.stop(1_000)
    assert owner.failure is None


def test_topics_that_hold_no_truth_may_be_cleaned_up_as_an_operator_likes() -> None:
    log = namespace()
    settings(log, "replies")["retention.ms"] = "1000"
    settings(log, "dead-letters")["cleanup.policy"] = "compact"
    assert describe_namespace(log, NAMESPACE)[0] == log.default_partitions


def test_a_missing_topic_is_named_with_the_command_that_makes_it() -> None:
    log = namespace()
    del log.medium._topics[f"{NAMESPACE}.dead-letters"]
    with pytest.raises(NamespaceNotFound, match=rf"missing: {NAMESPACE}\.dead-letters.*perdure namespace create {NAMESPACE} "):
        describe_namespace(log, NAMESPACE)


# -- the number of partitions


@pytest.mark.parametrize("topic", ["history", "commands"])
def test_history_and_commands_must_have_the_same_number_of_partitions(topic: str) -> None:
    log = namespace()
    grow(log, topic)
    said = str(refusal(log))
    assert re.search(rf"{NAMESPACE}\.commands has \d partitions and {NAMESPACE}\.history has \d; .* make a new one", said)


def test_a_namespace_that_was_resized_is_refused_before_its_new_partition_is_led() -> None:
    world = led()
    grow(world.log, "history", "commands")
    said = str(refusal(world.log))
    assert re.search(r"was made with 2 partitions .* its topics have 3: .*make a new namespace", said)


def test_a_namespace_whose_first_partition_was_never_led_is_compared_with_another_s_claim() -> None:
    world = World(said={1: {FIRST}})
    world.start()
    steps(world, 10)
    assert world.medium.bounds(*history_of(0)) == (0, 0)
    grow(world.log, "history", "commands")
    assert "was made with 2 partitions" in str(refusal(world.log))


def test_a_partition_whose_claims_name_another_count_stops_and_claims_nothing() -> None:
    world = led()
    before = ends(world.log)
    count, *ids = world.described
    world.described = (count + 1, ids[0], ids[1])
    process = world.start(name=SECOND)
    steps(world, 300)
    assert failures(process).keys() == {0, 1}
    assert all("was made with 2 partitions" in said and "have 3" in said for said in failures(process).values())
    assert ends(world.log) == before


# -- topics made anew


@pytest.mark.parametrize("store", ["kept", "lost"])
def test_commands_that_were_made_anew_are_refused_with_both_ids(store: str) -> None:
    world = led()
    old_id = world.described[1]
    make_anew(world.log, "commands")
    new_id = world.log.describe_topics([f"{NAMESPACE}.commands"], 0)[f"{NAMESPACE}.commands"].topic_id
    said = str(refusal(world.log))
    assert f"the commands topic of namespace '{NAMESPACE}' is not the one that its claims name ({old_id}, now {new_id})" in said
    before = ends(world.log)
    world.described = (2, new_id, world.described[2])
    process = world.start(name=FIRST if store == "kept" else SECOND)
    steps(world, 300)
    assert all(f"({old_id}, now {new_id})" in said for said in failures(process).values())
    assert failures(process).keys() == {0, 1}
    assert ends(world.log) == before


def test_a_history_that_was_restored_under_another_topic_is_refused_with_both_ids() -> None:
    world = led()
    old_id = world.described[2]
    for partition, records in enumerate(make_anew(world.log, "history")):
        for record in records:
            world.medium._partition(*history_of(partition)).records.append(record)
    said = str(refusal(world.log))
    assert f"the history topic of namespace '{NAMESPACE}' is not the one that its claims name ({old_id}, now memory-" in said


@pytest.mark.parametrize("topic", ["history", "commands"])
def test_a_topic_that_is_made_anew_under_an_owner_stops_its_partitions_and_nothing_is_appended(topic: str) -> None:
    world = World()
    for account in ("account-0", "account-3"):
        world.ask(account, open_account())
    process = world.start()
    world.run_until_done()
    make_anew(world.log, topic)
    before = ends(world.log)
    steps(world, 10_000 // STEP_MS)  # it is asked again and again whether it is so
    stopped = failures(process)
    assert stopped, "nobody noticed"
    assert all("nothing is skipped" in said or "has lost its newest" in said for said in stopped.values())
    assert ends(world.log) == before


def test_a_store_that_is_ahead_of_the_log_stops_its_partition_and_stays_where_it_is() -> None:
    """Whoever notices it first, the failed read or the end offset: the log has lost what was acknowledged (B4)."""
    world = led()
    for partition in range(2):
        del world.medium._partition(*history_of(partition)).records[-2:]
    before = ends(world.log)
    process = world.start()
    steps(world, 300)
    assert failures(process).keys() == {0, 1}
    assert all("the log has lost its newest records" in said for said in failures(process).values())
    assert not world.stores[FIRST].aside
    assert ends(world.log) == before


def test_a_tail_that_was_lost_and_written_anew_is_refused() -> None:
    """B4: the log has passed the store's position again, with other claims than the store has seen."""
    world = led()
    end = world.medium.bounds(*history_of(0))[1]
    del world.medium._partition(*history_of(0)).records[1:]
    world.medium.watch = lambda record: None  # the promises remember what is gone
    world.start(name=SECOND)
    steps(world, 300)
    world.lose_process(0, SECOND)
    assert world.medium.bounds(*history_of(0))[1] >= end, "the log has not passed the store's position"
    process = world.start()
    steps(world, 300)
    assert "a part of the history topic is missing" in failures(process)[0]


def test_a_history_without_a_part_in_its_middle_is_not_folded_past_it() -> None:
    """A8: what lies behind the missing part looks like what lies behind a lost append, and nobody has claimed since."""
    world = led()
    records = world.medium._partition(*history_of(0)).records
    assert len(records) >= 4
    del records[1:3]
    before = ends(world.log)
    process = world.start(name=SECOND)
    steps(world, 300)
    assert "the history goes on at offset 3 where 1 was expected" in failures(process)[0]
    assert ends(world.log)[history_of(0)] == before[history_of(0)]


def test_a_history_that_was_restored_without_a_part_is_not_believed_although_no_offset_is_missing() -> None:
    """R4: what is behind the missing part looks dead until the next claim; the next claim's own count is another one."""
    world = led()
    world.start()
    world.run_until_done()
    world.lose_process(0)
    partition = world.medium._partition(*history_of(0))
    assert [type(decode_history(record.value)) for record in partition.records].count(Claim) == 2
    del partition.records[1]
    partition.records[:] = [replace(record, offset=offset) for offset, record in enumerate(partition.records)]
    before = ends(world.log)
    process = world.start(name=SECOND)
    steps(world, 300)
    assert "a part of the history topic is missing" in failures(process)[0]
    assert ends(world.log)[history_of(0)] == before[history_of(0)]


@pytest.mark.parametrize("when", ["led", "rebuilt"])
def test_a_record_that_this_build_cannot_read_stops_its_partition_and_not_the_other(when: str) -> None:
    """D2, C7: it may be of a newer build, and nothing in a history is skipped."""
    world = led()
    world.medium.watch = lambda record: None  # the promises cannot read it either
    process = None
    if when == "led":
        process = world.start()
        steps(world, 50)
    written = world.medium.read(*history_of(0), 0, 1)[0].value
    world.medium.append(*history_of(0), None, written[:2] + bytes(8) + written[10:])
    before = ends(world.log)
    process = process or world.start()
    steps(world, 200)
    assert failures(process).keys() == {0}
    assert "is not a record that this build reads" in failures(process)[0]
    assert ends(world.log)[history_of(0)] == before[history_of(0)]
    assert process.node.partitions[1].stage is Stage.LEADING


def test_commands_that_lost_their_tail_below_the_watermark_stop_the_partition_before_it_claims() -> None:
    """B4: what is appended in their place would be taken for settled."""
    world = led()
    (partition,) = [p for p in range(2) if world.medium.bounds(*commands_of(p))[1]]
    world.medium._partition(*commands_of(partition)).records.pop()
    before = ends(world.log)
    process = world.start()
    steps(world, 300)
    assert "the log has lost its newest commands" in failures(process)[partition]
    assert ends(world.log)[history_of(partition)] == before[history_of(partition)]


def test_commands_deleted_above_the_watermark_stop_the_partition() -> None:
    """B1: what was never settled is gone; nothing is skipped."""
    world = led()
    (partition,) = [p for p in range(2) if world.medium.bounds(*commands_of(p))[1]]
    for number in range(3):
        world.ask("account-0", SignalWorkflow("deposit", input=plain(number)))
    world.clients()
    end = world.medium.bounds(*commands_of(partition))[1]
    world.medium.truncate_before(*commands_of(partition), end)
    process = world.start()
    steps(world, 300)
    assert "Records that this partition needs are gone" in failures(process)[partition]
    assert process.node.partitions[1 - partition].stage is Stage.LEADING


def test_a_history_that_is_trimmed_while_it_is_looked_at_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it began a moment ago, there may be nothing any more."""
    world = led()
    for partition in range(2):
        world.medium.truncate_before(*history_of(partition), 1)
    real, asked = world.log.start_offsets, []

    def as_a_moment_ago(places: list[tuple[str, int]], timeout_ms: int) -> dict[tuple[str, int], int]:
        asked.append(places)
        return dict.fromkeys(places, 0) if len(asked) == 1 else real(places, timeout_ms)

    monkeypatch.setattr(world.log, "start_offsets", as_a_moment_ago)
    assert describe_namespace(world.log, NAMESPACE) == world.described
    assert len(asked) == 2
