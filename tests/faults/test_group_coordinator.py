"""A process that waits for its group while no coordinator answers must live, and join when one does."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable

import pytest

from kit.proxy import Api, Do, Proxy, Rule
from kit.row import Row

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row]

QUIET_S = 45.0
"""Longer than two looks of a member that holds nothing, and the time-out of a request that either may make."""

MEMBER = """
import sys, time
from perdure._log.address import open_log
from perdure_schemas.topics import TopicSpec

log = open_log(sys.argv[1])[0]
topic = sys.argv[2]
log.create_topics([TopicSpec(topic, 2, {})], 60_000)
print("created", flush=True)
sys.stdin.readline()
membership = log.membership(topic + "-group", topic, 6_000)
began = time.monotonic()
while len(membership.poll()) < 2 and time.monotonic() - began < 180:
    time.sleep(0.02)
print(len(membership.poll()), flush=True)
membership.leave()
log.close()
"""


def test_a_member_outlives_a_time_in_which_no_coordinator_answers(door: Callable[[], Proxy], row: Row) -> None:
    row.injects("B5", f"FindCoordinator of a member that holds nothing is never answered for {QUIET_S:.0f} s")
    proxy = door()
    url, topic = f"kafka://{proxy.bootstrap}", f"members-{uuid.uuid4().hex[:8]}"
    process = subprocess.Popen(
        [sys.executable, "-c", MEMBER, url, topic], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "created\n"
        rule = proxy.add(Rule(Do.DROP, frozenset({Api.FIND_COORDINATOR})))
        process.stdin.write("go\n")
        process.stdin.flush()
        until = time.monotonic() + QUIET_S
        while time.monotonic() < until:
            assert process.poll() is None, f"ended with {process.returncode}: {process.stderr.read() if process.stderr else ''}"
            time.sleep(0.5)
        row.injected(rule.hits)
        proxy.remove(rule)
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
        assert out.strip() == "2", f"it never joined: {err}"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
