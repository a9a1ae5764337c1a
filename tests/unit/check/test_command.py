"""`perdure-check` as its users run it: on a SQLite file that was written by real owners, on copies, and on what is no log."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from kit.checking import check_medium, dump
from kit.scenarios import SCENARIOS
from kit.world import NAMESPACE
from perdure._log.port import Delivery
from perdure._log.sqlite import SqliteLog
from perdure_check.checker import check
from perdure_check.dump import Dump, WithCopies, read_copies, write_copy
from perdure_check.log import Bounds, Record, Trimmed, Unreadable
from perdure_check.operations import read_operations
from perdure_check.spool import Spooled
from perdure_check.sqlite_log import SqliteLog as ReadOnly
from perdure_schemas.topics import TopicSpec


def typed(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "perdure_check.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of a simulated namespace, written to a SQLite file through the product's adapter, in batches of different sizes."""
    path = tmp_path_factory.mktemp("check") / "log.db"
    world = SCENARIOS["transfers"]()
    world.start()
    world.run_until_done()
    whole = dump(world.medium, NAMESPACE)
    log = SqliteLog(path)
    producer = log.producer(Delivery.PIPELINED)
    for topic, count in whole.topics("").items():
        log.create_topics([TopicSpec(topic, count)], 5_000)
        for partition in range(count):
            bounds = whole.bounds(topic, partition)
            for number, record in enumerate(whole.read(topic, partition, bounds.start, bounds.end)):
                producer.append(topic, partition, record.key, record.value, record.headers)
                if number % 5 == 0:
                    producer.flush(5_000)
            producer.flush(5_000)
    producer.close()
    log.close()
    return path


def test_a_good_file_is_judged_and_left_as_it_is(file: Path) -> None:
    before = file.read_bytes()
    said = typed("--log", f"sqlite:///{file}", "--namespace", NAMESPACE, "--quiescent", "--bank", "SimAccount:move:deposit")
    assert said.returncode == 0, said.stdout + said.stderr
    assert "nothing broken; 2 not checked (I7, I14)" in said.stdout
    assert file.read_bytes() == before


def test_the_verdicts_are_there_as_json(file: Path) -> None:
    said = json.loads(typed("--log", f"sqlite:///{file}?namespace={NAMESPACE}", "--json").stdout)
    assert not said["broken"]
    assert [verdict["invariant"] for verdict in said["verdicts"]] == [f"I{number}" for number in range(1, 19)]
    assert said["counts"]["live records"] > 20


def test_a_broken_invariant_is_an_exit_code_with_a_witness(file: Path, tmp_path: Path) -> None:
    operations = tmp_path / "operations"
    operations.write_text('{"kind":"intent","id":"1","operation":"start","workflow_id":"x"}\n{"kind":"ok","id":"1","run_id":"nobody"}\n')
    said = typed("--log", f"sqlite:///{file}", "--namespace", NAMESPACE, "--operations", str(operations))
    assert said.returncode == 1
    assert "start '1' of workflow 'x' was acknowledged, and is not in the log" in said.stdout


def test_exported_summaries_are_compared_with_the_log(file: Path, tmp_path: Path) -> None:
    row = {"workflow_id": "nobody", "run_id": "r", "status": "completed", "start_time_ms": 1, "close_time_ms": 2, "history_length": 3}
    (tmp_path / "rows").write_text(json.dumps([row]))
    said = typed("--log", f"sqlite:///{file}", "--namespace", NAMESPACE, "--quiescent", "--json", "--summaries", str(tmp_path / "rows"))
    assert said.returncode == 1
    witnesses = json.loads(said.stdout)["verdicts"][5]["witnesses"]
    assert [one["sentence"] for one in witnesses if one["workflow_id"] == "nobody"] == []
    assert {one["sentence"] for one in witnesses} == {"it is not among the exported summaries"}
    (tmp_path / "rows").write_text("[{}]")
    said = typed("--log", f"sqlite:///{file}", "--namespace", NAMESPACE, "--summaries", str(tmp_path / "rows"))
    assert said.returncode == 2
    assert "workflow_id" in said.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--log", "sqlite:///nowhere.db"), "there is no file nowhere.db"),
        (("--log", "sqlite:///{file}", "--namespace", "other"), "there is no topic other.history"),
        (("--log", "memory://x"), "no address of a log"),
        (("--log", "sqlite:///{file}", "--namespace", NAMESPACE, "--operations", "nowhere"), "nowhere cannot be read"),
        (("--log", "sqlite:///{file}", "--namespace", NAMESPACE, "--bank", "Account"), "the type of the accounts and the signal"),
    ],
)
def test_what_cannot_be_read_is_said(file: Path, arguments: tuple[str, ...], sentence: str) -> None:
    said = typed(*(argument.format(file=file) for argument in arguments))
    assert said.returncode == 2
    assert sentence in said.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--may-stay-open", "["), "'[' is no regular expression"),
        (("--copy-to", "/no/such/place/copy"), "the copy /no/such/place/copy cannot be written"),
        (("--copy-to", "/"), "the copy / cannot be"),
        (("--copy", "/"), "the copy / cannot be read"),
        (("--summaries", "/"), "the summaries / cannot be read"),
        (("--operations", "/"), "/ cannot be read"),
        (("--bank-total", "much", "--bank", "A:b"), "argument --bank-total"),
    ],
)
def test_a_wrong_value_is_no_traceback(file: Path, arguments: tuple[str, ...], sentence: str) -> None:
    said = typed("--log", f"sqlite:///{file}", "--namespace", NAMESPACE, *arguments)
    assert said.returncode == 2
    assert sentence in said.stderr
    assert "Traceback" not in said.stderr


def test_a_broker_that_cannot_be_reached_is_told_once_and_with_the_reason() -> None:
    said = typed("--log", "kafka://127.0.0.1:1")
    assert (said.returncode, said.stdout) == (2, "")
    (line,) = said.stderr.splitlines()
    assert "no broker answers" in line
    assert "Connection refused" in line


def test_a_port_that_is_not_kafka_s_is_told_from_a_broker() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=50) as silent:
        said = typed("--log", f"kafka://127.0.0.1:{silent.getsockname()[1]}")
    assert said.returncode == 2
    (line,) = said.stderr.splitlines()
    assert "is that a Kafka broker, and the right security.protocol?" in line


def test_another_database_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "other.db").write_bytes(b"")
    with pytest.raises(Unreadable, match="is no log of Perdure"):
        ReadOnly(tmp_path / "other.db")


def test_a_damaged_batch_is_unreadable(file: Path, tmp_path: Path) -> None:
    (tmp_path / "damaged.db").write_bytes(file.read_bytes().replace(b"SimTransfer", b"SinTransfer"))
    log = ReadOnly(tmp_path / "damaged.db")
    try:
        with pytest.raises(Unreadable, match="checksum"):
            check(log, NAMESPACE)
    finally:
        log.close()


def test_copies_are_joined_to_what_trimming_has_left(tmp_path: Path) -> None:
    world = SCENARIOS["trimmed"]()
    world.start()
    world.run_until_done()
    whole, left = check_medium(world.medium, NAMESPACE, world.medium.deleted, quiescent=True)
    assert left.remarks
    assert not whole.remarks
    before = dump(world.medium, NAMESPACE, world.medium.deleted)
    for (topic, partition), records in world.medium.deleted.items():
        write_copy(tmp_path / "copy", before.read(topic, partition, 0, len(records)))
    joined = check(WithCopies(dump(world.medium, NAMESPACE), read_copies([tmp_path / "copy"])), NAMESPACE)
    assert not joined.remarks
    assert joined.counts["history records"] == whole.counts["history records"] > left.counts["history records"]


def test_a_copy_is_kept_and_goes_on_where_it_was(file: Path, tmp_path: Path) -> None:
    arguments = ("--log", f"sqlite:///{file}", "--namespace", NAMESPACE, "--copy-to", str(tmp_path / "copy"))
    first, second = typed(*arguments), typed(*arguments)
    assert int(first.stdout.split()[0]) > 50
    assert int(second.stdout.split()[0]) == 0
    log = ReadOnly(file)
    try:
        kept = read_copies([tmp_path / "copy"])
        for topic, count in kept.topics("").items():
            for partition in range(count):
                end = log.bounds(topic, partition).end
                assert list(kept.read(topic, partition, 0, end)) == list(log.read(topic, partition, 0, end))
    finally:
        log.close()


def test_the_record_of_operations_knows_what_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "one").write_text(
        '{"kind":"intent","id":"1","operation":"signal","workflow_id":"a","signal":"move","input":5}\n'
        '{"kind":"ok","id":"1"}\n'
        '{"kind":"intent","id":"2","operation":"signal","workflow_id":"a","signal":"move","input":6}\n'
        '{"kind":"intent","id":"3","operation":"signal","workflow_id":"a","signal":"move","input":7}\n'
        '{"kind":"fail","id":"3"}\n'
        '{"kind":"ok","i'
    )
    found = read_operations([tmp_path / "one"])
    assert [(one.operation_id, one.kind, one.input) for one in found] == [("1", "ok", 5), ("2", "unknown", 6), ("3", "fail", 7)]


def test_a_spooled_partition_is_read_as_it_was() -> None:
    records = [Record("t", 0, offset, offset * 10, None if offset % 2 else b"key", b"v" * offset) for offset in range(5, 20)]
    spooled = Spooled(Dump(records))
    spooled.spool("t", 0, Bounds(5, 18))
    assert list(spooled.read("t", 0, 5, 18)) == records[:13]
    assert list(spooled.read("t", 0, 9, 11)) == records[4:6]
    assert list(spooled.read("t", 0, 9, 20)) == records[4:], "what was not spooled comes from the log"
    spooled.close()


def test_records_that_are_deleted_under_the_reader_are_told_from_records_that_are_missing(tmp_path: Path) -> None:
    writer = SqliteLog(tmp_path / "log.db")
    writer.create_topics([TopicSpec("ns.history", 1)], 5_000)
    producer = writer.producer(Delivery.PIPELINED)
    for number in range(100):
        producer.append("ns.history", 0, None, b"%d" % number)
        producer.flush(5_000)
    producer.close()
    log = ReadOnly(tmp_path / "log.db")
    try:
        reading = log.read("ns.history", 0, 0, 100)
        assert next(reading).value == b"0"
        writer.truncate_before("ns.history", 0, 90, 5_000)
        with pytest.raises(Trimmed, match="deleted meanwhile"):
            list(reading)
        assert [record.value for record in log.read("ns.history", 0, 90, 92)] == [b"90", b"91"]
    finally:
        log.close()
        writer.close()
