import time

import pytest
from confluent_kafka import KafkaError

from perdure._log.errors import LogUnauthorized, LogUnavailable
from perdure._log.kafka.errors import Trouble, log_error

AUTHENTICATION = KafkaError._AUTHENTICATION
DOWN = "broker's supported mechanisms: (n/a) (after 0ms in state DOWN)"


@pytest.mark.parametrize(
    "said",
    [
        f"SASL PLAIN mechanism handshake failed: Local: Broker transport failure: {DOWN}",
        "SASL authentication error: SaslAuthenticateRequest failed: Local: Broker transport failure (after 12ms in state AUTH_REQ)",
        "SASL authentication error: SaslAuthenticateRequest failed: Local: Timed out (after 10004ms in state AUTH_REQ)",
    ],
)
def test_a_connection_that_breaks_while_somebody_shows_a_password_does_not_make_it_a_wrong_one(said: str) -> None:
    error = KafkaError(AUTHENTICATION, said)
    assert isinstance(log_error(error, "kafka://host:1"), LogUnavailable)
    trouble = Trouble("kafka://host:1")
    trouble.note(error)
    assert trouble.refusal() is None
    assert trouble.unconnected() == said


def test_the_last_attempt_to_connect_is_kept_until_a_broker_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    trouble = Trouble("kafka://host:1")
    trouble.note(KafkaError(KafkaError._TRANSPORT, "Connection refused"))
    hour_later = time.monotonic() + 3600
    monkeypatch.setattr(time, "monotonic", lambda: hour_later)
    assert trouble.unconnected() == "Connection refused"
    trouble.answered()
    assert trouble.unconnected() == ""


@pytest.mark.parametrize(
    "said",
    [
        "SASL authentication error: Authentication failed: Invalid username or password (after 5ms in state AUTH_REQ)",
        "SASL SCRAM authentication failed: broker responded with other-error",
        "SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported mechanisms: SCRAM-SHA-512",
    ],
)
def test_what_the_broker_does_not_take_is_refused(said: str) -> None:
    error = KafkaError(AUTHENTICATION, said)
    trouble = Trouble("kafka://host:1")
    trouble.note(error)
    assert isinstance(trouble.refusal(), LogUnauthorized)
