"""The faults that a test can make by subclassing the medium."""

from __future__ import annotations

from kit.media import failures, values
from perdure._log.errors import LogUnavailable
from perdure._log.memory import Append, MemoryLog, MemoryMedium
from perdure._log.port import Delivery, Producer
from perdure_schemas.topics import TopicSpec


class Held(MemoryMedium):
    """Appends wait until the test decides."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Append] = []

    def submit(self, append: Append) -> None:
        self.held.append(append)


def held(delivery: Delivery, count: int) -> tuple[Held, MemoryLog, Producer]:
    medium = Held()
    log = MemoryLog(medium)
    log.create_topics([TopicSpec("t", 1)], 0)
    producer = log.producer(delivery)
    for number in range(count):
        producer.append("t", 0, None, b"%d" % number, (), number)
    return medium, log, producer


def content(medium: MemoryMedium) -> list[bytes]:
    return values(medium.read("t", 0, 0, 100))


def test_acknowledgements_out_of_order_are_reported_in_order() -> None:
    medium, _, producer = held(Delivery.PIPELINED, 3)
    for append in reversed(medium.held):
        assert producer.poll() == ([], [])
        medium.land(append)
        append.acknowledge()
    assert producer.poll() == ([0, 1, 2], [])
    assert content(medium) == [b"2", b"1", b"0"]


def test_an_append_can_land_and_fail() -> None:
    medium, _, producer = held(Delivery.PIPELINED, 2)
    medium.land(medium.held[0])
    medium.held[0].fail(LogUnavailable("cut"))
    medium.land(medium.held[1])
    medium.held[1].acknowledge()
    tokens, [failed] = producer.poll()
    assert (tokens, failed.token) == ([1], 0)
    assert content(medium) == [b"0", b"1"]


def test_an_append_can_land_twice_and_after_its_producer_was_dropped() -> None:
    medium, _, producer = held(Delivery.PIPELINED, 1)
    producer.drop()
    medium.land(medium.held[0])
    medium.land(medium.held[0])
    medium.held[0].acknowledge()
    assert producer.poll() == ([], [])
    assert producer.outstanding() == 0
    assert content(medium) == [b"0", b"0"]


def test_an_ordered_producer_has_one_append_in_flight() -> None:
    medium, _, producer = held(Delivery.ORDERED, 3)
    for number in range(3):
        assert [append.token for append in medium.held] == list(range(number + 1))
        medium.held[-1].acknowledge()
    assert producer.poll() == ([0, 1, 2], [])


def test_an_ordered_producer_sends_nothing_after_a_failure() -> None:
    medium, _, producer = held(Delivery.ORDERED, 4)
    medium.held[0].acknowledge()
    medium.held[1].fail(LogUnavailable("cut"))
    assert [token for token, _ in failures(producer, 3)] == [1, 2, 3]
    assert len(medium.held) == 2
    assert producer.outstanding() == 0


def test_the_clocks_are_the_tests() -> None:
    now_ms = 1_000
    medium = MemoryMedium(lambda: now_ms, lambda: now_ms)
    log = MemoryLog(medium)
    log.create_topics([TopicSpec("t", 2)], 0)
    first, second = log.membership("g", "t", 100), log.membership("g", "t", 100)
    assert first.poll() == {0, 1}
    assert second.poll() == frozenset()
    assert len(first.poll()) == len(second.poll()) == 1
    now_ms = 1_099
    second.poll()
    now_ms = 1_100
    assert second.poll() == {0, 1}
    medium.append("t", 0, None, b"late")
    now_ms = 500
    medium.append("t", 0, None, b"early")
    assert [record.timestamp_ms for record in medium.read("t", 0, 0, 10)] == [1_100, 1_100]
    assert log.now_ms() == 500


def test_two_runs_on_the_same_clocks_are_equal() -> None:
    def run() -> object:
        medium = MemoryMedium(lambda: 7, lambda: 7)
        log = MemoryLog(medium)
        log.create_topics([TopicSpec("t", 3), TopicSpec("u", 1)], 0)
        members = [log.membership("g", "t", 100) for _ in range(2)]
        shares = [[member.poll() for member in members] for _ in range(3)]
        medium.append("t", 1, b"k", b"v")
        return shares, log.describe_topics(["t", "u"], 0), medium.read("t", 1, 0, 1)

    assert run() == run()
