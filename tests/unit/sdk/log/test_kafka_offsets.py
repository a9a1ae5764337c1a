"""Questions for offsets to a cluster that does not answer: they end, and a client that is of no use is replaced and let go."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from perdure._log.errors import LogUnavailable
from perdure._log.kafka import offsets, settings
from perdure._log.kafka.offsets import KafkaOffsets, _Lane, _Part

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


def a_lane(ask: Any) -> _Lane:
    return _Lane(1, f"kafka://{NOBODY}", settings.consumer(NOBODY, {}), ask)


def test_a_lane_survives_a_defect_over_a_question_and_whoever_asked_is_told() -> None:
    questions: list[int] = []

    def ask(_client: object, parts: Sequence[_Part], _timeout_s: float) -> Iterator[Any]:
        questions.append(len(parts))
        if len(questions) == 1:
            raise KeyError("a partition that the library left out")
        for part in parts:
            part.found(7)
        yield from ()

    lane = a_lane(ask)
    first, second = _Part(("t", 0), -1), _Part(("t", 0), -1)
    lane.put(first)
    with pytest.raises(LogUnavailable, match=r"offsets of t\[0\].*left out"):
        first.future.result(60)
    lane.put(second)
    assert second.future.result(60) == 7
    lane.close()


def test_a_lane_without_a_thread_tells_whoever_asks_and_tries_again_for_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(_client: object, parts: Sequence[_Part], _timeout_s: float) -> Iterator[Any]:
        for part in parts:
            part.found(7)
        yield from ()

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    lane, first, second = a_lane(ask), _Part(("t", 0), -1), _Part(("t", 0), -1)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        lane.put(first)
    with pytest.raises(LogUnavailable, match="can't start new thread"):
        first.future.result(0)
    lane.put(second)
    assert second.future.result(60) == 7
    lane.close()


def test_nobody_who_asks_waits_until_the_library_has_let_an_idle_client_go() -> None:
    waits: list[bool] = []
    lane = a_lane(lambda *_: iter(()))

    class Client:
        """Lets itself go while somebody else asks."""

        def __del__(self) -> None:
            asker = threading.Thread(target=lambda: lane.put(_Part(("t", 0), -1)), daemon=True)
            asker.start()
            asker.join(10)
            waits.append(asker.is_alive())

        def poll(self, _timeout_s: float) -> None:
            """See the library."""

    lane._client = Client()  # type: ignore[assignment]
    lane._is_closed = True
    lane._run()
    assert waits == [False]
