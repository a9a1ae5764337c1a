"""A client of the Kafka library that has nothing to report is asked about once in a millisecond, and not hundreds of times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from perdure._log.kafka import KafkaLog
from perdure._log.kafka.producer import KafkaProducer
from perdure._log.kafka.waiting import waiting_s
from perdure._log.port import Delivery

NOBODY = "127.0.0.1:1"
NAPS = 40


@dataclass
class Counted:
    """A client of the library whose polls are counted."""

    client: Any
    polls: int = 0

    def poll(self, timeout_s: float) -> object:
        self.polls += 1
        outcome: object = self.client.poll(timeout_s)
        return outcome

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)


@pytest.fixture
def producer() -> Iterator[KafkaProducer]:
    log = KafkaLog(NOBODY, {})
    made = log.producer(Delivery.PIPELINED)
    assert isinstance(made, KafkaProducer)
    yield made
    made.close()
    log.close()


@pytest.mark.parametrize("nap_ms", [1, 2, 3])
def test_a_producer_that_waits_is_polled_about_once_a_millisecond(producer: KafkaProducer, nap_ms: int) -> None:
    producer.append("t", 0, None, b"waits for ever", (), object())
    counted = Counted(producer._client)
    producer._client = counted  # type: ignore[assignment]
    for _ in range(NAPS):
        assert producer.poll(nap_ms) == ([], [])
    # Each nap looks once without waiting, and the library returns early where it tells of connections that failed.
    assert counted.polls <= NAPS * (nap_ms + 2)


@pytest.mark.parametrize("left_ms", [0.0001, 0.9, 0.999, 1.0, 1.001, 28.9999999, 29.0, 1001, 2**31 / 1000])
def test_the_library_waits_no_shorter_than_it_is_told(left_ms: float) -> None:
    taken_ms = int(waiting_s(left_ms) * 1000)  # as the library cuts it
    assert left_ms <= taken_ms < left_ms + 1


def test_no_time_left_is_no_wait() -> None:
    assert waiting_s(0) == waiting_s(-3.5) == 0.0
