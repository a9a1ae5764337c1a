"""The Kafka client library's own messages reach a user once, not hundreds of times."""

import logging

import pytest

from perdure._log.kafka.chatter import logger


def test_what_differs_in_numbers_only_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for number in range(50):
            logger.error("FAIL [perdure#producer-%d]: broker-a:1: Connect failed (after %dms in state CONNECT)", number, number)
        logger.error("FAIL [perdure#producer-1]: broker-b:1: Connect failed (after 0ms in state CONNECT)")
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == ["broker-a:1", "broker-b:1"]
