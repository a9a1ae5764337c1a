"""What the Log promises to groups: those that lead, and those that share a topic's records."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator

import pytest

from kit.media import KAFKA, KIP_848, PATIENCE_S, Medium, append, medium_of, until
from perdure._log.errors import LogClosed, LogUnavailable, TopicNotFound
from perdure._log.port import GroupConsumer, GroupDescription, Log, Membership, Record

SESSION_MS = 6_000
SHORT_SESSION_MS = 1_500
"""For members that are meant to lose theirs."""


@pytest.fixture(params=["memory", "simulated", "sqlite", KAFKA, KIP_848])
def medium(request: pytest.FixtureRequest) -> Iterator[Medium]:
    yield from medium_of(request)


@pytest.fixture(params=["sqlite", KAFKA, KIP_848])
def shared_medium(request: pytest.FixtureRequest) -> Iterator[Medium]:
    yield from medium_of(request)


def shared(members: list[Membership], sizes: list[int]) -> bool:
    """Whether the members have shares of these sizes, and between them each partition once."""
    try:
        shares = [member.poll() for member in members]
    except LogUnavailable:  # nobody can tell one of them yet
        return False
    return sorted(map(len, shares)) == sorted(sizes) and len(frozenset().union(*shares)) == sum(sizes)


def test_a_lone_member_leads_every_partition(medium: Medium, log: Log) -> None:
    topic = medium.topic(log, 4)
    member = log.membership(medium.name(), topic, SESSION_MS)
    until(lambda: member.poll() == {0, 1, 2, 3}, "all four partitions")
    member.leave()


def test_members_share_evenly_and_one_that_leaves_is_replaced_at_once(medium: Medium, log: Log) -> None:
    topic, group = medium.topic(log, 5), medium.name()
    members = [log.membership(group, topic, SESSION_MS)]
    until(lambda: shared(members, [5]), "the first alone")
    members.append(log.membership(group, topic, SESSION_MS))
    until(lambda: shared(members, [3, 2]), "two shares")
    kept = members[0].poll()
    members.append(medium.open().membership(group, topic, SESSION_MS))
    until(lambda: shared(members, [2, 2, 1]), "three shares")
    assert members[0].poll() <= kept, "a share moved for nothing"
    members.pop(0).leave()
    started = time.monotonic()
    until(lambda: shared(members, [3, 2]), "two shares again")
    assert time.monotonic() - started < SESSION_MS / 1000, "leaving did not spare the others the time-out"
    members.pop(0).leave()
    until(lambda: shared(members, [5]), "the last alone")
    members.pop().leave()


def test_groups_do_not_know_of_each_other(medium: Medium, log: Log) -> None:
    topic = medium.topic(log, 2)
    members = [log.membership(medium.name(), topic, SESSION_MS) for _ in range(2)]
    until(lambda: all(member.poll() == {0, 1} for member in members), "everything for both")
    for member in members:
        member.leave()


def test_a_member_that_no_longer_polls_loses_its_partitions_and_can_come_back(medium: Medium, log: Log) -> None:
    topic, group = medium.topic(log, 2), medium.name()
    idle = log.membership(group, topic, SHORT_SESSION_MS)
    until(lambda: idle.poll() == {0, 1}, "everything for the first")
    busy = log.membership(group, topic, SHORT_SESSION_MS)
    until(lambda: busy.poll() == {0, 1}, "everything for the one that polls")
    until(lambda: shared([idle, busy], [1, 1]), "one each")
    idle.leave()
    busy.leave()


def test_a_member_that_has_left_is_refused(medium: Medium, log: Log) -> None:
    member = log.membership(medium.name(), medium.topic(log), SESSION_MS)
    member.leave()
    member.leave()
    with pytest.raises(LogClosed):
        member.poll()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_a_killed_or_stopped_process_is_replaced(shared_medium: Medium, end: signal.Signals) -> None:
    log = shared_medium.open()
    topic, group = shared_medium.topic(log, 2), shared_medium.name()
    other = shared_medium.process("lead", group, topic, str(SHORT_SESSION_MS))
    lines = Lines(other)
    until(lambda: lines.last() == "0,1", "everything for the process")
    member = log.membership(group, topic, SHORT_SESSION_MS)
    until(lambda: len(member.poll()) == 1 and lines.last() in ("0", "1"), "one each")
    other.send_signal(end)
    until(lambda: member.poll() == {0, 1}, "everything for the survivor")
    if end is signal.SIGSTOP:
        other.send_signal(signal.SIGCONT)
        until(lambda: len(member.poll()) == 1 and lines.last() == str(1 - min(member.poll())), "one each again")
    member.leave()


def test_a_group_begins_with_the_first_record_and_delivers_each_once(medium: Medium, log: Log) -> None:
    topic, group = medium.topic(log, 2), medium.name()
    for partition in (0, 1):
        append(log, topic, [b"%d" % number for number in range(50)], partition)
    consumer = log.group_consumer(group, topic, SESSION_MS)
    records = gather([consumer], 100)
    for partition in (0, 1):
        mine = [record for record in records if record.partition == partition]
        assert [record.offset for record in mine] == list(range(50))
        assert consumer.backlog_end(partition) == 50
    with pytest.raises(KeyError):
        consumer.backlog_end(2)
    assert consumer.positions() == {0: 50, 1: 50}
    append(log, topic, [b"late"], 1)
    [late] = gather([consumer], 1)
    assert (late.value, late.offset) == (b"late", 50)
    assert consumer.backlog_end(1) == 50
    assert consumer.positions() == {0: 50, 1: 51}
    consumer.close()


def test_two_members_share_the_records(medium: Medium, log: Log) -> None:
    topic, group = medium.topic(log, 4), medium.name()
    members = [log.group_consumer(group, topic, SESSION_MS) for _ in range(2)]
    partitions = [share_of(members, 4)[index] for index in (0, 1)]
    assert sorted(map(len, partitions)) == [2, 2]
    for partition in range(4):
        append(log, topic, [b"%d" % number for number in range(25)], partition)
    for member, share in zip(members, partitions, strict=True):
        records = gather([member], 50)
        assert {record.partition for record in records} == share
    close(members)


def test_what_was_committed_is_not_delivered_again_and_what_was_not_is(medium: Medium, log: Log) -> None:
    topic, group = medium.topic(log), medium.name()
    append(log, topic, [b"%d" % number for number in range(10)])
    first = log.group_consumer(group, topic, SESSION_MS)
    gather([first], 10)
    assert first.commit_now({0: 4})
    assert first.commit_now({})
    first.close()
    second = log.group_consumer(group, topic, SESSION_MS)
    assert [record.offset for record in gather([second], 6)] == list(range(4, 10))
    assert (second.backlog_end(0), second.positions()) == (10, {0: 10})
    second.commit({0: 7})
    second.close()
    third = log.group_consumer(group, topic, SESSION_MS)
    offsets = [record.offset for record in gather([third], 3)]
    third.close()
    assert offsets == [7, 8, 9]


def test_a_commit_is_refused_where_the_partition_is_not_held(medium: Medium, log: Log) -> None:
    topic, group = medium.topic(log, 2), medium.name()
    consumer = log.group_consumer(group, topic, SESSION_MS)
    until(lambda: share_of([consumer], 2), "both partitions")
    assert not consumer.commit_now({5: 1})
    consumer.commit({5: 1})
    consumer.close()


def test_a_member_that_lost_its_partition_cannot_commit_it(medium: Medium, log: Log) -> None:
    topic, group = medium.topic(log), medium.name()
    append(log, topic, [b"a", b"b", b"c"])
    idle = log.group_consumer(group, topic, SHORT_SESSION_MS)
    gather([idle], 3)
    busy = log.group_consumer(group, topic, SHORT_SESSION_MS)
    assert [record.offset for record in gather([busy], 3)] == [0, 1, 2]
    assert busy.commit_now({0: 1})
    assert not idle.commit_now({0: 3})
    busy.close()
    third = log.group_consumer(group, topic, SHORT_SESSION_MS)
    assert [record.offset for record in gather([third], 2)] == [1, 2]
    close([idle, third])


def test_a_killed_member_s_uncommitted_records_go_to_another(shared_medium: Medium) -> None:
    log = shared_medium.open()
    topic, group = shared_medium.topic(log), shared_medium.name()
    append(log, topic, [b"%d" % number for number in range(20)])
    committing = shared_medium.process("share", group, topic, str(SHORT_SESSION_MS), "commit")
    assert committing.stdout is not None
    assert [committing.stdout.readline().strip() for _ in range(20)] == [str(number) for number in range(20)]
    committing.kill()
    committing.wait()
    append(log, topic, [b"20", b"21"])
    careless = shared_medium.process("share", group, topic, str(SHORT_SESSION_MS))
    assert careless.stdout is not None
    assert [careless.stdout.readline().strip() for _ in range(2)] == ["20", "21"]
    careless.kill()
    careless.wait()
    heir = log.group_consumer(group, topic, SHORT_SESSION_MS)
    records = gather([heir], 2)
    assert [record.value for record in records] == [b"20", b"21"]
    assert all(record.offset < heir.backlog_end(0) for record in records)
    heir.close()


def test_a_paused_member_keeps_its_place_and_gets_nothing(medium: Medium, log: Log) -> None:
    topic, group = medium.topic(log, 2), medium.name()
    append(log, topic, [b"%d" % number for number in range(200)])
    consumer = log.group_consumer(group, topic, SHORT_SESSION_MS)
    records = gather([consumer], 1, at_once=1)
    for _ in range(5):
        consumer.pause()
        assert consumer.poll(10, 50) == []
        consumer.resume()
        records += gather([consumer], 3, at_once=3)
    consumer.pause()
    ends = time.monotonic() + SHORT_SESSION_MS / 1000 * 1.5  # longer than a session, in which it polls
    while time.monotonic() < ends:
        assert consumer.poll(10, 100) == []
    consumer.resume()
    records += gather([consumer], 200 - len(records))
    assert [record.offset for record in records] == list(range(200))
    consumer.close()


def test_after_a_short_pause_what_was_fetched_is_at_hand(medium: Medium, log: Log) -> None:
    topic, group = medium.topic(log), medium.name()
    append(log, topic, [b"%d" % number for number in range(10)])
    consumer = log.group_consumer(group, topic, SESSION_MS)
    gather([consumer], 1, at_once=1)
    consumer.pause()
    assert consumer.poll(10, 0) == []
    consumer.resume()
    assert [record.offset for record in consumer.poll(10, 0)] == list(range(1, 10))
    consumer.close()


def test_a_member_knows_where_it_begins(medium: Medium, log: Log) -> None:
    topic, group = medium.topic(log), medium.name()
    append(log, topic, [b"%d" % number for number in range(10)])
    first = log.group_consumer(group, topic, SESSION_MS)
    gather([first], 10)
    assert first.begins == {0: 0}
    assert first.positions() == {0: 10}
    assert first.commit_now({0: 7})
    first.close()
    second = log.group_consumer(group, topic, SESSION_MS)
    assert [record.offset for record in gather([second], 3)] == [7, 8, 9]
    assert second.begins == {0: 7}
    second.close()


def test_records_that_were_deleted_need_no_delivery(medium: Medium, log: Log) -> None:
    topic, group = medium.topic(log), medium.name()
    append(log, topic, [b"%d" % number for number in range(10)])
    first = log.group_consumer(group, topic, SESSION_MS)
    gather([first], 10)
    assert first.commit_now({0: 2})
    first.close()
    log.truncate_before(topic, 0, 6, 10_000)
    second = log.group_consumer(group, topic, SESSION_MS)
    assert [record.offset for record in gather([second], 4)] == [6, 7, 8, 9]
    second.close()


def test_a_closed_group_consumer_is_refused(medium: Medium, log: Log) -> None:
    consumer = log.group_consumer(medium.name(), medium.topic(log), SESSION_MS)
    consumer.close()
    consumer.close()
    with pytest.raises(LogClosed):
        consumer.poll(1, 0)


def test_a_group_that_nobody_has_joined_is_described_as_empty(medium: Medium, log: Log) -> None:
    found = log.describe_group(medium.name(), medium.topic(log, 2), 30_000)
    assert (found.members, found.committed) == ((), {})
    with pytest.raises(TopicNotFound):
        log.describe_group(medium.name(), medium.name(), 30_000)


def test_a_group_is_described_by_its_members_and_what_it_has_committed(medium: Medium, log: Log) -> None:
    topic, group = medium.topic(log, 3), medium.name()
    for partition in (0, 1, 2):
        append(log, topic, [b"a", b"b", b"c"], partition)
    members = [log.group_consumer(group, topic, SESSION_MS)]
    gather(members, 9)
    assert members[0].commit_now({0: 2, 1: 3})
    [alone] = described(log, group, topic, members, [3]).members
    assert alone.partitions == (0, 1, 2)
    assert described(log, group, topic, members, [3]).committed == {0: 2, 1: 3}
    members.append(medium.open().group_consumer(group, topic, SESSION_MS))
    both = described(log, group, topic, members, [2, 1]).members
    assert alone.name in {member.name for member in both}
    assert sorted(partition for member in both for partition in member.partitions) == [0, 1, 2]
    assert {member.silent_ms is None or 0 <= member.silent_ms <= SESSION_MS for member in both} == {True}
    members.pop(0).close()
    [left] = described(log, group, topic, members, [3]).members
    assert left.name != alone.name
    members.pop(0).close()
    found = described(log, group, topic, [], [])
    assert found.committed == {0: 2, 1: 3}, "what is committed outlives the members"


@pytest.mark.parametrize("medium", ["memory", "simulated", "sqlite"], indirect=True)  # when Kafka's own library gives up is Kafka's to say
def test_who_is_silent_for_a_session_is_described_without_partitions(medium: Medium, log: Log) -> None:
    topic, group = medium.topic(log), medium.name()
    idle = log.group_consumer(group, topic, SHORT_SESSION_MS)
    [first] = described(log, group, topic, [idle], [1]).members
    busy = log.group_consumer(group, topic, SHORT_SESSION_MS)
    until(lambda: busy.poll(1, 10) == [] and holds(busy, 0), "the partition for the one that polls")
    [holder] = [member for member in described(log, group, topic, [busy], [1]).members if member.partitions]
    assert holder.name != first.name
    close([busy, idle])


def test_a_group_that_leads_is_described_too(medium: Medium, log: Log) -> None:
    topic, group = medium.topic(log, 2), medium.name()
    member = log.membership(group, topic, SESSION_MS)
    until(lambda: member.poll() == {0, 1}, "both partitions")
    until(lambda: [one.partitions for one in log.describe_group(group, topic, 30_000).members] == [(0, 1)], "its description")
    member.leave()


def test_to_describe_a_group_changes_nothing_in_it(medium: Medium, log: Log) -> None:
    topic, group = medium.topic(log, 2), medium.name()
    append(log, topic, [b"a", b"b"])
    consumer = log.group_consumer(group, topic, SESSION_MS)
    gather([consumer], 2)
    for _ in range(5):
        described(log, group, topic, [consumer], [2])
    assert consumer.positions()[0] == 2, "its partitions were given to another member, and back"
    assert consumer.poll(10, 200) == []
    consumer.close()


def described(log: Log, group: str, topic: str, polling: list[GroupConsumer], sizes: list[int]) -> GroupDescription:
    """The group once its members hold so many partitions each; those that poll stay members meanwhile."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        for member in polling:
            member.poll(1, 10)
        found = log.describe_group(group, topic, 30_000)
        if sorted(len(member.partitions) for member in found.members if member.partitions) == sorted(sizes):
            return found
        assert time.monotonic() < deadline, f"the group was not described with {sizes}: {found}"


def gather(members: Iterable[GroupConsumer], count: int, at_once: int = 100) -> list[Record]:
    """Wait for `count` records of the members together."""
    records: list[Record] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(records) < count:
        assert time.monotonic() < deadline, f"{count} records were expected, and {len(records)} came"
        for member in members:
            records += member.poll(min(at_once, count - len(records)), 50)
    assert len(records) == count
    return records


def share_of(members: list[GroupConsumer], partitions: int) -> list[set[int]]:
    """Wait until the members hold all partitions, evenly."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        shares = []
        for member in members:
            assert member.poll(1, 10) == []
            shares.append({partition for partition in range(partitions) if holds(member, partition)})
        sizes = sorted(map(len, shares))
        if sum(sizes) == partitions and sizes[-1] - sizes[0] <= 1:
            return shares
        assert time.monotonic() < deadline, f"the partitions were not shared: {shares}"


def holds(member: GroupConsumer, partition: int) -> bool:
    try:
        member.backlog_end(partition)
    except KeyError:
        return False
    return True


def close(members: Iterable[GroupConsumer]) -> None:
    for member in members:
        member.close()


class Lines:
    """What a process prints, read as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._lines: list[str] = []
        self._process = process
        threading.Thread(target=self._read, daemon=True).start()

    def last(self) -> str | None:
        return self._lines[-1] if self._lines else None

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                self._lines.append(line.strip())
        except ValueError:
            pass  # closed at the end of the test
