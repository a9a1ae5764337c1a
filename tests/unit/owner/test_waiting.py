"""An owner that leads nothing says who does, and until when it waits."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future

import pytest

from perdure._log.memory import MemoryLog, MemoryMedium
from perdure._log.port import DescribedMember
from perdure_platform.node.topics import ensure_namespace
from perdure_platform.node.waiting import FIRST_LOOK_MS, LOOK_MAX_MS, Waiting, waiting_line
from perdure_schemas.topics import commands_topic, owners_group

SESSION_MS = 10_000


def at_once(call: Callable[[], None]) -> Future[None]:
    call()
    done: Future[None] = Future()
    done.set_result(None)
    return done


def test_who_leads_and_is_silent_is_named_with_the_time_that_is_left() -> None:
    dead = DescribedMember("12@machine", "machine", (0, 1, 2, 3), 3_000)
    assert waiting_line([dead], 1_000, SESSION_MS) == (
        "this owner leads nothing yet: partitions 0-3 are held by owner 12@machine on host machine, which has not been heard of for 3 s; "
        "they are taken over in at most 7 s"
    )


def test_who_leads_and_lives_is_named() -> None:
    line = waiting_line([DescribedMember("a", "", (0, 2, 3), 100), DescribedMember("b", "", (1,), 100)], 1_000, SESSION_MS)
    assert "partitions 0, 2-3 are held by owner a, which lives" in line
    assert "partition 1 is held by owner b, which lives" in line


def test_where_the_log_does_not_say_how_long_a_member_was_silent_the_session_bounds_the_wait() -> None:
    line = waiting_line([DescribedMember("a", "host", (0,))], 4_000, SESSION_MS)
    assert "If that owner has died, they are given away in at most 6 s" in line


def test_an_owner_that_waits_says_so_once_for_each_change_and_one_that_leads_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    now_ms = [0.0]
    log = MemoryLog(MemoryMedium())
    ensure_namespace(log, "ns")
    waiting = Waiting(log, "ns", SESSION_MS, at_once, lambda: now_ms[0])

    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records]

    with caplog.at_level(logging.WARNING, "perdure.owner"):
        waiting.turn(leads=False)
        assert lines() == [], "it has only begun"
        holder = log.membership(owners_group("ns"), commands_topic("ns"), SESSION_MS)
        assert holder.poll()
        now_ms[0] += FIRST_LOOK_MS
        waiting.turn(leads=False)
        assert ["which lives" in line for line in lines()] == [True]
        for _ in range(5):
            now_ms[0] += LOOK_MAX_MS
            waiting.turn(leads=False)
        assert len(lines()) == 1, "nothing has changed"
        holder.leave()
        now_ms[0] += LOOK_MAX_MS
        waiting.turn(leads=False)
        assert "nobody holds one" in lines()[1]
        waiting.turn(leads=True)
        now_ms[0] += LOOK_MAX_MS
        waiting.turn(leads=True)
        assert len(lines()) == 2
