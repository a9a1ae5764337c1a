"""Clients of the library that hang although the cluster is there: each is replaced, and nobody has to restart a process."""

import logging
import time
from collections.abc import Callable, Iterator

import pytest

from kit.media import until
from kit.proxy import Api, Do, Proxy, Rule
from perdure._log.address import open_log
from perdure._log.errors import LogUnavailable
from perdure._log.kafka import membership, offsets, producer
from perdure._log.port import Delivery, Log, Producer
from perdure_schemas.topics import TopicSpec

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

SPEC = TopicSpec("healing", 1, {})
SESSION_TIMEOUT_MS = 6_000


@pytest.fixture
def proxy(door: Callable[[], Proxy]) -> Proxy:
    return door()


@pytest.fixture
def log(proxy: Proxy) -> Iterator[Log]:
    log, _ = open_log(f"kafka://{proxy.bootstrap}")
    log.create_topics([SPEC], 30_000)
    yield log
    log.close()


def _append_well(appending: Producer) -> None:
    appending.append(SPEC.name, 0, None, b"well", token="well")
    until(lambda: appending.poll(100)[0] == ["well"], "an append through the proxy")


@pytest.mark.parametrize("delivery", list(Delivery))
def test_appends_that_nobody_hears_of_count_as_failed(log: Log, proxy: Proxy, delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    appending = log.producer(delivery)
    _append_well(appending)
    monkeypatch.setattr(producer, "_STALLED_S", 1.0)
    _append_well(appending)
    rule = proxy.add(Rule(Do.DROP, frozenset({Api.PRODUCE})))
    for number in range(3):
        appending.append(SPEC.name, 0, None, b"lost", token=number)
    failures = []
    until(lambda: failures.extend(appending.poll(100)[1]) or len(failures) == 3, "the failures", 60)  # type: ignore[func-returns-value]
    assert [failure.token for failure in failures] == [0, 1, 2]
    assert all(isinstance(failure.error, LogUnavailable) and "although the cluster answers" in str(failure.error) for failure in failures)
    assert rule.hits
    proxy.remove(rule)
    appending.append(SPEC.name, 0, None, b"after", token="after")
    if delivery is Delivery.ORDERED:  # an append after a failed one must not overtake it
        _, (failure,) = appending.poll(0)
        assert failure.token == "after"
    else:
        until(lambda: appending.poll(100)[0] == ["after"], "an append through the new client", 60)
    appending.close()


def test_nothing_counts_as_failed_while_the_cluster_is_away(log: Log, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    appending = log.producer(Delivery.PIPELINED)
    _append_well(appending)
    monkeypatch.setattr(producer, "_STALLED_S", 1.0)
    _append_well(appending)
    proxy.cut()
    appending.append(SPEC.name, 0, None, b"waits", token="waits")
    ends = time.monotonic() + 8
    while time.monotonic() < ends:
        assert appending.poll(100) == ([], [])
    proxy.heal()
    appending.close()


def test_questions_are_asked_by_a_new_client_after_one_without_an_answer(
    log: Log, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(offsets, "_CLIENT_LIVES_S", 0.0)
    caplog.set_level(logging.INFO, "perdure.log.kafka")
    rule = proxy.add(Rule(Do.DROP, frozenset({Api.LIST_OFFSETS})))
    with pytest.raises(LogUnavailable):
        log.end_offsets([(SPEC.name, 0)], 4_000)
    assert rule.hits
    assert "going on with a new client" in caplog.text
    proxy.remove(rule)
    assert (SPEC.name, 0) in log.end_offsets([(SPEC.name, 0)], 30_000)


def test_who_cannot_join_its_group_tries_as_somebody_else(
    log: Log, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(membership, "_LOOK_S", 1.0)
    rule = proxy.add(Rule(Do.DROP, frozenset({Api.JOIN_GROUP})))
    leading = log.membership("healing-leaders", SPEC.name, SESSION_TIMEOUT_MS)
    reading = log.group_consumer("healing-readers", SPEC.name, SESSION_TIMEOUT_MS)

    def told() -> bool:
        assert leading.poll() == frozenset()
        assert reading.poll(1, 50) == []
        return {"healing-leaders", "healing-readers"} <= {
            group for group in ("healing-leaders", "healing-readers") if f"in the group {group} and is not in touch with it" in caplog.text
        }

    until(told, "both to be replaced", 60)
    assert rule.hits
    proxy.remove(rule)
    until(lambda: leading.poll() == frozenset({0}), "the lead", 60)
    leading.leave()
    reading.close()
