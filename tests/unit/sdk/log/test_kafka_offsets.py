"""Questions for offsets to a cluster that does not answer: they end, and a client that is of no use is replaced and let go."""

from __future__ import annotations

import gc
import sys
import time

import pytest

from perdure._log.errors import LogUnavailable
from perdure._log.kafka import offsets, settings
from perdure._log.kafka.offsets import KafkaOffsets

NOBODY = "127.0.0.1:1"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> KafkaOffsets:
    monkeypatch.setattr(offsets, "_QUESTION_FIRST_S", 0.2)
    monkeypatch.setattr(offsets, "_QUESTION_MAX_S", 0.4)
    return KafkaOffsets(f"kafka://{NOBODY}", settings.consumer(NOBODY, {}))


def test_a_question_that_nobody_answers_names_the_partition_and_the_last_attempt_to_connect(asked: KafkaOffsets) -> None:
    with pytest.raises(LogUnavailable, match=r"offsets of t\[0\].*last attempt to connect.*refused"):
        asked.offsets([("t", 0)], 5_000, end=True)
    asked.close()


def test_a_request_that_nobody_answers_ends_by_itself(asked: KafkaOffsets) -> None:
    request = asked.request([("t", 0), ("t", 1)], end=False)
    while not all(part.future.done() for part in request._parts.values()):
        time.sleep(0.02)
    with pytest.raises(LogUnavailable):
        request.result()
    asked.close()


def test_a_client_that_nobody_answers_is_replaced_and_let_go_without_a_search_for_cycles(asked: KafkaOffsets) -> None:
    with pytest.raises(LogUnavailable):
        asked.offsets([("t", 0)], 1_000, end=True)
    (lane,) = asked._lanes.values()
    gc.collect()
    gc.disable()  # owners look for cycles so seldom that what is in one stays
    try:
        former = lane._client
        assert former is not None
        lane._heard_at -= 3600
        with pytest.raises(LogUnavailable):
            asked.offsets([("t", 0)], 1_000, end=True)
        deadline = time.monotonic() + 60
        while sys.getrefcount(former) > 2:  # the name here, and the argument
            assert time.monotonic() < deadline, "something still holds the former client, and with it its threads"
            time.sleep(0.02)
    finally:
        gc.enable()
        asked.close()


def test_a_closed_lane_ends_its_thread(asked: KafkaOffsets) -> None:
    with pytest.raises(LogUnavailable):
        asked.offsets([("t", 0)], 500, end=True)
    (lane,) = asked._lanes.values()
    asked.close()
    deadline = time.monotonic() + 60
    while lane._is_running:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert lane._client is None
