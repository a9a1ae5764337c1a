from __future__ import annotations

from pathlib import Path

import pytest

from perdure._log.address import KafkaAddress, MemoryAddress, SqliteAddress, open_log, parse_address
from perdure._log.errors import LogMisconfigured
from perdure._log.kafka import KafkaLog
from perdure._log.memory import MemoryLog
from perdure._log.port import Delivery
from perdure._log.sqlite import SqliteLog
from perdure_schemas.topics import TopicSpec


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("kafka://localhost:9092", KafkaAddress("localhost:9092")),
        ("KAFKA://localhost:9092/", KafkaAddress("localhost:9092")),
        ("kafka://a:1,b.example:2/orders", KafkaAddress("a:1,b.example:2", "orders")),
        ("kafka://[::1]:9092/x", KafkaAddress("[::1]:9092", "x")),
        ("localhost:9092", KafkaAddress("localhost:9092")),
        (" a:1,b:2/orders ", KafkaAddress("a:1,b:2", "orders")),
        (
            "kafka://a:1?librdkafka.security.protocol=SASL_SSL&librdkafka.sasl.password=a%26b",
            KafkaAddress("a:1", None, {"security.protocol": "SASL_SSL", "sasl.password": "a&b"}),
        ),
        ("sqlite:///perdure.db", SqliteAddress(Path("perdure.db"))),
        ("sqlite:////var/lib/perdure/log.db", SqliteAddress(Path("/var/lib/perdure/log.db"))),
        ("sqlite:///a%20b%3F.db?namespace=orders", SqliteAddress(Path("a b?.db"), "orders")),
        ("memory://", MemoryAddress("")),
        ("memory://tests?namespace=orders", MemoryAddress("tests", "orders")),
    ],
)
def test_an_address_is_understood(url: str, expected: object) -> None:
    assert parse_address(url) == expected


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "HOST:PORT was expected"),
        ("localhost", "'localhost'"),
        ("localhost:", "'localhost:'"),
        ("kafka://", "HOST:PORT"),
        ("kafka://localhost", "'localhost'"),
        ("kafka://localhost:0", "'localhost:0'"),
        ("kafka://localhost:65536", "'localhost:65536'"),
        ("kafka://a:1,,b:2", "''"),
        ("kafka://a:1;b:2", "'a:1;b:2'"),
        ("kafka://a:1/one/two", "'one/two'"),
        ("kafka://a:1/sp%20ace", "'sp ace'"),
        ("kafka://a:1?acks=1", "'acks'"),
        ("kafka://a:1?librdkafka.=1", "'librdkafka.'"),
        ("kafka://a:1?librdkafka.client.id", "NAME=VALUE"),
        ("kafka://a:1?config=", "'config'"),
        ("kafka://a:1?config=x&config=y", "twice"),
        ("kafka://a:1#x", "'#'"),
        ("sqlite://perdure.db", "three slashes"),
        ("sqlite:perdure.db", "'sqlite:perdure.db'"),
        ("sqlite://", "three slashes"),
        ("sqlite:///", "no file"),
        ("sqlite:///directory/", "no file"),
        ("sqlite:///x.db?mode=ro", "'mode'"),
        ("sqlite:///x.db?namespace=a/b", "'a/b'"),
        ("sqlite:///a%00b", "it names no file"),
        ("memory://a/b", "'a/b'"),
        ("postgres://localhost/x", "'postgres'"),
        ("/var/lib/log.db", "HOST:PORT was expected"),
    ],
)
def test_a_wrong_address_is_an_error_that_shows_the_accepted_ones(url: str, says: str) -> None:
    with pytest.raises(LogMisconfigured) as raised:
        open_log(url)
    message = str(raised.value)
    assert says in message
    for form in ("kafka://HOST:PORT", "sqlite:///FILE", "memory://NAME"):
        assert form in message


@pytest.mark.parametrize(
    "url",
    [
        "kafka://user:s3cret@a:1/x",
        "kafka://a:1?sasl.password=s3cret",
        "kafka://user:s3cret/s3cret@a:1",
        "kafka://user:1234/s3cret@a:1",
        "kafka://user:s3cret?s3cret@a:1",
        "user:12/s3cret@a:1",
        "kafka://a:1?librdkafka.sasl.password=s3cret&librdkafka.sasl.password=s3cret",
        "kafka://a:1?librdkafka.sasl.password=s3cret&nonsense=s3cret",
        "kafka://a:1?librdkafka.sasl.password=s3cret&librdkafka.no.such.property=1",
        "kafka://a:1?librdkafka.sasl.password=s3cret&librdkafka.acks=1",
        "user:s3cret@a:1",
    ],
)
def test_a_password_appears_in_no_message(url: str) -> None:
    with pytest.raises(LogMisconfigured) as raised:
        open_log(url)
    error: BaseException | None = raised.value
    while error is not None:
        assert "s3cret" not in str(error)
        assert "s3cret" not in repr(error)
        error = error.__cause__ or error.__context__


def test_a_password_is_not_in_the_address_that_is_shown() -> None:
    url = "kafka://localhost:1?librdkafka.sasl.password=s3cret&librdkafka.sasl.username=user"
    log, _ = open_log(url)
    assert log.url == "kafka://localhost:1"
    assert "s3cret" not in repr(parse_address(url)) + repr(log)


def test_properties_are_read_from_a_file_and_those_in_the_address_win(tmp_path: Path) -> None:
    file = tmp_path / "client.properties"
    file.write_text("# comment\n! another\n\nclient.id = from file\nsasl.password=a=b c \n", encoding="utf-8")
    found = parse_address(f"kafka://a:1?config={file}&librdkafka.client.id=from-url")
    assert found == KafkaAddress("a:1", None, {"client.id": "from-url", "sasl.password": "a=b c"})


def test_a_broken_file_of_properties_is_an_error_that_names_the_line_and_not_its_text(tmp_path: Path) -> None:
    file = tmp_path / "client.properties"
    file.write_text("client.id=x\ns3cret\n", encoding="utf-8")
    with pytest.raises(LogMisconfigured, match="line 2") as raised:
        open_log(f"kafka://a:1?config={file}")
    assert "s3cret" not in str(raised.value)
    with pytest.raises(LogMisconfigured, match="cannot be read"):
        open_log(f"kafka://a:1?config={tmp_path / 'missing'}")


@pytest.mark.parametrize("name", ["acks", "enable.idempotence", "transactional.id", "message.timeout.ms", "auto.offset.reset", "group.id"])
def test_properties_that_the_protocol_relies_on_cannot_be_set(name: str) -> None:
    with pytest.raises(LogMisconfigured, match=name.replace(".", r"\.")):
        open_log(f"kafka://localhost:1?librdkafka.{name}=1")


def test_an_unknown_property_is_an_error_that_names_it() -> None:
    with pytest.raises(LogMisconfigured, match="no\\.such\\.property"):
        open_log("kafka://localhost:1?librdkafka.no.such.property=1")


def test_opening_chooses_the_adapter(tmp_path: Path) -> None:
    file, namespace = open_log(f"sqlite:///{tmp_path / 'log.db'}?namespace=orders")
    assert isinstance(file, SqliteLog)
    assert namespace == "orders"
    assert open_log(file.url)[0].url == file.url
    broker, namespace = open_log("127.0.0.1:1/orders")
    assert isinstance(broker, KafkaLog)
    assert (broker.url, namespace) == ("kafka://127.0.0.1:1", "orders")


def test_logs_in_memory_share_by_name(tmp_path: Path) -> None:
    name = tmp_path.name
    first, second, other = (open_log(f"memory://{each}")[0] for each in (name, name, f"{name}-other"))
    assert isinstance(first, MemoryLog)
    first.create_topics([TopicSpec("t", 1)], 1000)
    producer = first.producer(Delivery.PIPELINED)
    producer.append("t", 0, None, b"x")
    assert second.end_offsets([("t", 0)], 1000) == {("t", 0): 1}
    assert other.describe_topics(["t"], 1000) == {}


@pytest.mark.parametrize("name", ["n" * 101, "a%20b"])
def test_a_namespace_that_no_topic_can_be_named_after_is_refused(name: str) -> None:
    for url in (f"kafka://localhost:9092/{name}", f"sqlite:///perdure.db?namespace={name}"):
        with pytest.raises(LogMisconfigured, match="a namespace is made of up to 100 letters"):
            parse_address(url)
