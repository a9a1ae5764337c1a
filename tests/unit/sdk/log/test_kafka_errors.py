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
