"""The file of the SQLite log: where it may be, what it may hold, and what happens when it cannot be written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from kit.media import append, error_of, failures, read_from, settle, until, values
from perdure._log.errors import LogBusy, LogDamaged, LogError, LogMisconfigured, LogUnavailable, OffsetOutOfRange
from perdure._log.port import Delivery
from perdure._log.sqlite import SqliteLog, database
from perdure._log.sqlite.catalog import Catalog
from perdure._log.sqlite.database import file_system
from perdure_schemas.topics import TopicSpec


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.fixture
def log(path: Path) -> Iterator[SqliteLog]:
    log = SqliteLog(path, busy_timeout_ms=150, queue_records_max=100)
    log.create_topics([TopicSpec("t", 1), TopicSpec("short", 1, {"retention.ms": "1000"})], 5000)
    yield log
    log.close()


@pytest.fixture
def holder(path: Path, log: SqliteLog) -> Iterator[apsw.Connection]:
    """Somebody else's connection."""
    connection = apsw.Connection(str(path))
    yield connection
    connection.close()


def refusal(path: Path, kind: type[LogError]) -> str:
    with pytest.raises(kind) as raised:
        SqliteLog(path)
    assert str(path) in str(raised.value)
    return str(raised.value)


def test_a_directory_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "missing" / "log.db", LogMisconfigured)
    assert not (tmp_path / "missing").exists()


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    assert "is a directory" in refusal(tmp_path, LogMisconfigured)


def test_a_place_that_cannot_be_written_is_refused() -> None:
    assert "write access" in refusal(Path("/proc/log.db"), LogMisconfigured)


def test_a_network_file_system_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "file_system", lambda _: "nfs4")
    assert "nfs4" in refusal(path, LogMisconfigured)


def test_the_file_system_of_a_directory_is_found() -> None:
    assert file_system(Path("/proc/self")) == "proc"
    assert file_system(Path("/")) not in ("", "proc")


def test_a_release_of_sqlite_that_can_damage_the_file_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
    with pytest.raises(LogMisconfigured, match=r"3\.51\.3"):
        SqliteLog(path)


def test_another_program_s_database_is_left_alone(path: Path) -> None:
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE precious(x); INSERT INTO precious VALUES (1)")
    other.close()
    before = path.read_bytes()
    assert "another program" in refusal(path, LogMisconfigured)
    other = apsw.Connection(str(path))
    assert other.execute("SELECT x FROM precious").get == 1
    assert other.execute("SELECT count(*) FROM sqlite_schema").get == 1
    other.close()
    assert len(path.read_bytes()) == len(before)


def test_a_file_of_a_later_format_is_refused(path: Path) -> None:
    SqliteLog(path).close()
    other = apsw.Connection(str(path))
    other.execute("PRAGMA user_version=99")
    other.close()
    assert "99" in refusal(path, LogMisconfigured)


def test_a_file_that_is_no_database_is_damaged(path: Path) -> None:
    path.write_bytes(b"something else\n" * 1000)
    assert "damaged" in refusal(path, LogDamaged)


def test_a_changed_record_is_noticed_by_its_reader(path: Path, log: SqliteLog) -> None:
    append(log, "t", [b"first" * 300])
    append(log, "t", [b"wanted" * 300])
    log.close()
    content = path.read_bytes()
    at = content.index(b"wantedwanted")
    path.write_bytes(content[:at] + b"WANTED" + content[at + 6 :])
    again = SqliteLog(path)
    consumer = again.consumer()
    consumer.assign({("t", 0): 0})
    error = error_of(lambda: consumer.poll(10, 100), 5)
    assert isinstance(error, LogDamaged)
    assert "t[0]" in str(error)
    consumer.close()
    again.close()


def test_missing_records_are_noticed_by_their_reader(log: SqliteLog, holder: apsw.Connection) -> None:
    for number in range(3):
        append(log, "t", [b"%d" % number])
    holder.execute("DELETE FROM batch WHERE next_offset = 2")
    consumer = log.consumer()
    consumer.assign({("t", 0): 0})
    error = error_of(lambda: consumer.poll(10, 100), 5)
    assert isinstance(error, LogDamaged)
    assert "offset 1" in str(error)
    consumer.close()


@pytest.mark.parametrize("delivery", list(Delivery))
def test_an_append_fails_while_another_process_holds_the_file_and_nothing_of_it_lands(
    log: SqliteLog, holder: apsw.Connection, delivery: Delivery
) -> None:
    producer = log.producer(delivery)
    holder.execute("BEGIN IMMEDIATE")
    for number in range(3):
        producer.append("t", 0, None, b"lost", (), number)
    found = failures(producer, 3)
    assert [token for token, _ in found] == [0, 1, 2]
    assert all(isinstance(error, LogUnavailable) for _, error in found)
    assert "another process" in str(found[0][1])
    holder.execute("ROLLBACK")
    producer.append("t", 0, None, b"next", (), "next")
    if delivery is Delivery.PIPELINED:
        assert settle(producer) == ["next"]
        assert values(read_from(log, {("t", 0): 0}, 1)) == [b"next"]
    else:
        assert [token for token, _ in failures(producer, 1)] == ["next"]
        assert log.end_offsets([("t", 0)], 0) == {("t", 0): 0}


def test_an_append_waits_for_a_short_transaction_of_another_process(log: SqliteLog, holder: apsw.Connection) -> None:
    producer = log.producer(Delivery.PIPELINED)
    holder.execute("BEGIN IMMEDIATE")
    producer.append("t", 0, None, b"x", (), "token")
    assert producer.poll(20) == ([], [])
    holder.execute("COMMIT")
    assert settle(producer) == ["token"]


def test_a_queue_that_is_full_is_busy_and_reading_goes_on(log: SqliteLog, holder: apsw.Connection) -> None:
    append(log, "t", [b"there"])
    holder.execute("BEGIN IMMEDIATE")
    producer = log.producer(Delivery.PIPELINED)

    assert isinstance(error_of(lambda: producer.append("t", 0, None, b"more")), LogBusy)
    assert values(read_from(log, {("t", 0): 0}, 1)) == [b"there"]
    assert log.request_end_offsets([("t", 0)]).result() == {("t", 0): 1}
    holder.execute("ROLLBACK")


def test_a_full_disk_is_told_and_appends_go_on_when_there_is_room(log: SqliteLog) -> None:
    producer = log.producer(Delivery.PIPELINED)
    producer.append("t", 0, None, b"before")
    settle(producer)
    connection = log._writer._connection
    assert connection is not None
    connection.execute(f"PRAGMA max_page_count={connection.execute('PRAGMA page_count').get}")
    producer.append("t", 0, None, bytes(1_000_000), (), "large")
    [(token, error)] = failures(producer, 1)
    assert token == "large"
    assert isinstance(error, LogUnavailable)
    assert "disk is full" in str(error)
    producer.append("t", 0, None, b"after")
    settle(producer)
    assert values(read_from(log, {("t", 0): 0}, 2)) == [b"before", b"after"]


def test_a_commit_that_came_to_nothing_does_not_undo_a_later_one(log: SqliteLog, holder: apsw.Connection) -> None:
    log.create_topics([TopicSpec("tasks", 2)], 5000)
    append(log, "tasks", [b"%d" % number for number in range(6)])
    consumer = log.group_consumer("workers", "tasks", 60_000)
    until(lambda: len(consumer.poll(10, 0)) == 6, "all six")
    holder.execute("BEGIN IMMEDIATE")
    consumer.commit({0: 3})
    holder.execute("ROLLBACK")
    assert consumer.commit_now({0: 5})
    consumer.commit({1: 0})
    consumer.close()
    successor = log.group_consumer("workers", "tasks", 60_000)
    assert values(successor.poll(10, 5_000)) == [b"5"]
    successor.close()


def test_closing_the_log_fails_what_is_still_queued(log: SqliteLog, holder: apsw.Connection) -> None:
    producer = log.producer(Delivery.PIPELINED)
    holder.execute("BEGIN IMMEDIATE")
    for number in range(50):
        producer.append("t", 0, None, b"x", (), number)
    log.close()
    assert len(failures(producer, 50)) == 50
    assert producer.outstanding() == 0
    holder.execute("ROLLBACK")
    assert holder.execute("SELECT count(*) FROM batch").get == 0


def test_what_is_queued_together_is_committed_together(path: Path) -> None:
    log = SqliteLog(path)
    log.create_topics([TopicSpec("t", 1)], 5000)
    producer = log.producer(Delivery.PIPELINED)
    for _ in range(5000):
        producer.append("t", 0, None, b"x")
    settle(producer)
    log.close()
    assert apsw.Connection(str(path)).execute("SELECT count(*) FROM batch").get < 1000


def test_records_beyond_their_retention_are_deleted_and_their_offsets_do_not_come_back(log: SqliteLog, holder: apsw.Connection) -> None:
    for topic in ("t", "short"):
        append(log, topic, [b"a"])
        append(log, topic, [b"b"])
    catalog = Catalog(log._database, holder)
    catalog.delete_expired(log.now_ms())
    assert log.start_offsets([("short", 0)], 0) == {("short", 0): 0}
    catalog.delete_expired(log.now_ms() + 5_000)
    assert log.start_offsets([("short", 0), ("t", 0)], 0) == {("short", 0): 2, ("t", 0): 0}
    append(log, "short", [b"c"])
    assert [record.offset for record in read_from(log, {("short", 0): 2}, 1)] == [2]
    assert len(read_from(log, {("t", 0): 0}, 2)) == 2


def test_a_reader_that_is_overtaken_by_a_deletion_is_told(log: SqliteLog) -> None:
    for number in range(100):
        append(log, "t", [b"%d" % number])
    consumer = log.consumer()
    consumer.assign({("t", 0): 0})
    assert values(consumer.poll(2, 1000)) == [b"0", b"1"]
    log.truncate_before("t", 0, 90, 5000)
    error = error_of(lambda: consumer.poll(100, 100), 5)
    assert isinstance(error, OffsetOutOfRange)
    consumer.close()


def test_a_log_can_be_opened_by_many_at_once(path: Path) -> None:
    logs: list[SqliteLog] = []
    errors: list[BaseException] = []

    def open_it() -> None:
        try:
            logs.append(SqliteLog(path))
        except LogError as error:
            errors.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: len(logs) + len(errors) == 8, "eight openings")
    for thread in threads:
        thread.join()
    for log in logs:
        log.close()
    assert not errors
