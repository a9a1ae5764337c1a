"""A client of the Kafka library that was replaced is let go at once: its threads and connections must not wait for a search for cycles."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator

import pytest

from perdure._log.errors import LogUnavailable
from perdure._log.kafka import KafkaLog
from perdure_schemas.topics import TopicSpec

NOBODY = "127.0.0.1:1"


@pytest.fixture
def without_cycles() -> Iterator[None]:
    """Owners look for cycles so seldom that what is in one stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


ASKING: dict[str, Callable[[KafkaLog], object]] = {
    "topics": lambda log: log.describe_topics(["t"], 500),
    "names": lambda log: log.list_topics("t", 500),
    "new topics": lambda log: log.create_topics([TopicSpec("t", 1)], 500),
    "truncation": lambda log: log.truncate_before("t", 0, 1, 500),
}


@pytest.mark.parametrize("what", ASKING)
def test_a_client_that_cannot_reach_its_brokers_is_let_go_when_it_is_replaced(what: str, without_cycles: None) -> None:
    log = KafkaLog(NOBODY)
    try:
        former = weakref.ref(log._admin._client)
        log._admin._connected_at -= 3600
        with pytest.raises(LogUnavailable):
            ASKING[what](log)
        if log._admin._client is former():  # the library had not given up yet
            log._admin.start_over(log._admin._client, LogUnavailable("later"))
        assert former() is None, "something still holds the former client, and with it its threads"
    finally:
        log.close()
