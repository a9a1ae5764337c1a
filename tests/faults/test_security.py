"""Who may do what to a real broker with TLS, passwords and access lists (rows Z1 Z2 W7)."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit import raw
from kit.core import data
from kit.namespace import COMMAND, Namespace
from kit.proxy import Api, Do, Proxy, Rule
from kit.row import Row
from kit.secured import Secured
from perdure._log.address import open_log
from perdure._log.errors import LogUnauthorized
from perdure._log.port import Delivery
from perdure_platform.ops.acls import Grant, Role, grants
from perdure_schemas.codec import encode_command
from perdure_schemas.commands import Command, ReplyAddress, Request, StartWorkflow
from perdure_schemas.history import Claim, CommitRecord
from perdure_schemas.notes import ActivityTaskParked
from perdure_schemas.topics import READERS_GROUP, commands_topic, dead_letters_topic, history_topic, replies_topic, tasks_topic

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]

NAME = "safe"
MAY_APPEND = {
    Role.OWNER: {"commands", "history", "tasks", "replies", "dead-letters"},
    Role.WORKER: {"commands", "dead-letters"},
    Role.CLIENT: {"commands"},
    Role.OBSERVER: set[str](),
}
TOPICS = {
    "commands": commands_topic(NAME),
    "history": history_topic(NAME),
    "tasks": tasks_topic(NAME, "work"),
    "replies": replies_topic(NAME),
    "dead-letters": dead_letters_topic(NAME),
}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    made = Secured(tmp_path_factory.mktemp("secured"))
    yield made
    made.close()


@pytest.mark.sharp
def test_each_role_can_do_its_work_with_what_the_table_grants_and_append_nowhere_else(secured: Secured, tmp_path: Path, row: Row) -> None:
    row.names, row.injection = "Z1 Z2", "access lists as `perdure namespace acls` prints them; every role tries to append to every topic"
    namespace = Namespace(secured.broker.bootstrap, NAME, tmp_path, "ledger").create(2)
    secured.allow(grants(NAME, ["work"]))
    registry = "kit.workloads.ledger:registry"
    try:
        namespace.run([*COMMAND, "owner", registry, "--log", secured.url(NAME, "owner"), "--store", str(tmp_path / "store")], "owner")
        namespace.run([*COMMAND, "worker", registry, "--log", secured.url(NAME, "worker")], "worker")
        asked = [str(namespace.operations), "0", "40", "10", "0"]
        load = namespace.run([sys.executable, "-m", "kit.load", "ledger", secured.url(NAME, "client"), *asked], "load")
        namespace.until(lambda: namespace.done() == 40, "40 entries", 120)
        namespace.until(lambda: load.poll() == 0, "the end of the load", 60)
        observer = [sys.executable, "-m", "perdure_check.cli", "--log", secured.url(NAME, "observer")]
        checked = subprocess.run(observer, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        for role in Role:
            for kind, topic in TOPICS.items():
                appended = appends(secured.url(NAME, role.value), topic)
                assert appended == (kind in MAY_APPEND[role]), f"{role.value} {'may' if appended else 'may not'} append to {topic}"
                row.injections += not appended
        said = namespace.outputs() + checked.stdout + checked.stderr
        assert "Traceback" not in said, said
        assert not any(password in said for password in secured.passwords.values())
    finally:
        namespace.stop()


def test_whoever_cannot_be_believed_ends_soon_with_a_reason_and_without_the_secret(secured: Secured, tmp_path: Path, row: Row) -> None:
    wrong = {
        "password": secured.url("closed", "owner", password="wrong-s3cret"),
        "password by SCRAM": secured.url("closed", "owner", password="wrong-s3cret", mechanism="SCRAM-SHA-512"),
        "authority": secured.url("closed", "owner", authority=secured.stranger()),
        "host": secured.url("closed", "owner", door="elsewhere"),
        "date": secured.url("closed", "owner", door="expired"),
        "plaintext to TLS": secured.url("closed", "owner", protocol="SASL_PLAINTEXT"),
        "TLS to plaintext": secured.url("closed", "owner", address=secured.broker.bootstrap),
    }
    row.injects("Z1", f"wrong {', '.join(wrong)}")
    namespace = Namespace(secured.broker.bootstrap, "closed", tmp_path, "ledger").create(1)
    registry = "kit.workloads.ledger:registry"
    slowest_s = 0.0
    for what, url in wrong.items():
        commands = (["owner", registry, "--store", str(tmp_path / what)], ["worker", registry], ["workflow", "list"])
        began = time.monotonic()
        tried = [namespace.run([*COMMAND, *command, "--log", url], "refused") for command in commands]
        for process in tried:
            namespace.until(lambda process=process: process.poll() is not None, f"the end of one with a wrong {what}", 90)  # type: ignore[misc]
            slowest_s = max(slowest_s, time.monotonic() - began)
            said = namespace.said(process)
            assert process.returncode not in (0, 1), f"{what}: {process.returncode}\n{said}"
            assert "Traceback" not in said, said
            assert "s3cret" not in said
            row.injected()
    row.figures["slowest_s"] = round(slowest_s, 1)
    namespace.stop()


def test_connections_that_break_while_passwords_are_shown_end_nobody(secured: Secured, tmp_path: Path, row: Row) -> None:
    row.injects("Z1 L4", "connections of owner and worker cut at the SASL handshake and at the password, again and again, under load")
    name, proxy = "handshakes", Proxy(*secured.proxied)
    namespace = Namespace(secured.broker.bootstrap, name, tmp_path, "ledger").create(2)
    secured.allow(grants(name, ["work"]))
    registry = "kit.workloads.ledger:registry"
    try:
        serving = []
        for role in ("owner", "worker"):
            url = secured.url(name, role, protocol="SASL_PLAINTEXT", address=proxy.bootstrap)
            store = ["--store", str(tmp_path / "handshakes")] if role == "owner" else []
            serving.append(namespace.run([*COMMAND, role, registry, "--log", url, *store], role))
        load = namespace.load(150, 10, per_second=4)
        namespace.until_done(10)
        for api in (Api.SASL_HANDSHAKE, Api.SASL_AUTHENTICATE, Api.SASL_HANDSHAKE):
            rule = proxy.add(Rule(Do.CUT, frozenset({api}), times=12))
            proxy.cut()
            proxy.let_in()
            namespace.until(lambda rule=rule: rule.hits == rule.times, "connections that break", 60)  # type: ignore[misc]
            row.injected(rule.hits)
            before = namespace.done()
            namespace.until_done(min(before + 5, 150))
            row.during += namespace.done() - before
        namespace.until(lambda: load.poll() is not None, "the load's end", 150)
        assert namespace.done() == 150
        for process in serving:
            assert process.poll() is None, namespace.said(process)
        namespace.verify()
    finally:
        namespace.stop()
        proxy.close()


def test_an_owner_and_a_worker_whose_password_is_revoked_end_and_others_take_over(secured: Secured, tmp_path: Path, row: Row) -> None:
    row.injects("Z1", "the SCRAM password of an owner and of a worker deleted while they run under load")
    name = "revoked"
    namespace = Namespace(secured.broker.bootstrap, name, tmp_path, "ledger").create(2)
    secured.allow(grants(name, ["work"]))
    registry = "kit.workloads.ledger:registry"
    try:
        ended = []
        for role in ("owner", "worker"):
            secured.scram(role, secured.passwords[role])
            url = secured.url(name, role, mechanism="SCRAM-SHA-512")
            store = ["--store", str(tmp_path / "revoked")] if role == "owner" else []
            ended.append(namespace.run([*COMMAND, role, registry, "--log", url, *store], role))
        load = namespace.load(120, 10, per_second=4)
        namespace.until_done(10)
        for role in ("owner", "worker"):
            secured.scram(role, None)
            row.injected()
        for process in ended:
            namespace.until(lambda process=process: process.poll() is not None, "the end of who is no longer believed", 120)  # type: ignore[misc]
            said = namespace.said(process)
            assert process.returncode not in (0, 1), said
            assert "Traceback" not in said, said
            assert "check the credentials" in said, said
            assert not any(password in said for password in secured.passwords.values())
        row.during = namespace.done()
        namespace.owner("successor")
        namespace.worker()
        namespace.until(lambda: load.poll() is not None, "the load's end", 150)
        assert namespace.done() == 120
        namespace.verify()
    finally:
        namespace.stop()


@pytest.mark.timeout(900)
def test_each_line_of_the_table_is_needed_and_who_lacks_it_says_so_by_name(secured: Secured, tmp_path: Path, row: Row) -> None:
    row.injects("Z2", "each line of the access lists missing in turn, for the role whose it is")
    for number, (role, at) in enumerate(
        (one.role, at) for at, one in enumerate(grants("any", ["work"])) if one.role is not Role.OBSERVER and one.name != READERS_GROUP
    ):
        name = f"lack-{number}"
        lacking = grants(name, ["work"])[at]
        if role is Role.WORKER and lacking.name == dead_letters_topic(name):
            continue  # which it needs for tasks only that nobody can read
        (directory := tmp_path / name).mkdir()
        namespace = Namespace(secured.broker.bootstrap, name, directory, "ledger").create(1)
        secured.allow([one for one in grants(name, ["work"]) if one != lacking])
        try:
            said, claims = without(namespace, secured.url(name, role.value), role, lacking)
        finally:
            namespace.stop()
        what = f"{role.value} without {lacking.operations} on {lacking.name}"
        assert lacking.name.removesuffix(".") in said, f"{what} does not say so\n{said}"
        assert "Traceback" not in said, f"{what}\n{said}"
        assert "s3cret" not in said
        assert claims <= 2, f"{what} claimed {claims} times"
        row.injected()


def without(namespace: Namespace, url: str, role: Role, lacking: Grant) -> tuple[str, int]:
    """Let a role try to work; what it said, and how often it claimed the partition."""
    request = Request("once", time.time_ns() // 1_000_000 + 600_000, ReplyAddress("nobody", 0))
    start = Command("charge-0", StartWorkflow("Charge", "work", data("0")), request)
    raw.append(namespace, "commands", 0, [encode_command(start), b"no command"])
    registry = "kit.workloads.ledger:registry"
    match role:
        case Role.OWNER:
            words = ["owner", registry, "--store", str(namespace.directory / "store")]
        case Role.WORKER:
            words = ["worker", registry]
        case _:
            words = ["workflow", "describe", "charge-0"]
    if role is not Role.OWNER:
        namespace.owner("another")
    process = namespace.run([*COMMAND, *words, "--log", url], role.value)
    lacks = lacking.name.removesuffix(".")
    namespace.until(lambda: process.poll() is not None or lacks in namespace.said(process), f"a word about {lacks}", 60)
    time.sleep(1)
    claims = sum(isinstance(decoded, Claim) for _, decoded in raw.history(namespace, 0))
    return namespace.said(process), claims


def appends(url: str, topic: str) -> bool:
    """Whether this user may append to a topic; the record is nothing that anybody can read."""
    log, _ = open_log(url)
    try:
        producer = log.producer(Delivery.PIPELINED)
        producer.append(topic, 0, None, b"\xff not a record", (), "token")
        assert producer.flush(60_000)
        tokens, failed = producer.poll()
        producer.close()
    except LogUnauthorized:
        return False
    finally:
        log.close()
    assert all("AUTHORIZATION_FAILED" in str(one.error) for one in failed), failed
    return bool(tokens)


def test_tasks_of_a_queue_that_may_not_be_written_rest_and_leave_once_it_may(secured: Secured, tmp_path: Path, row: Row) -> None:
    row.injects("W7", "no right to write or create task topics, for the only owner under load; granted later")
    name, items = "resting", 150
    namespace = Namespace(secured.broker.bootstrap, name, tmp_path, "mixed").create(1)
    tasks = next(one for one in grants(name) if one.role is Role.OWNER and one.name.endswith(".tasks."))
    secured.allow([one for one in grants(name) if one != tasks])
    try:
        command = [
            *COMMAND,
            "owner",
            "kit.workloads.mixed:registry",
            "--log",
            secured.url(name, "owner"),
            "--store",
            str(tmp_path / "store"),
        ]
        owner = namespace.run(command, "owner")
        load = namespace.load(items, items)
        with row.fault(namespace):
            namespace.until(lambda: len(resting(namespace)) >= 20, "tasks that rest")
            namespace.until_done(5)  # those without activities
        row.injected(len(resting(namespace)))
        noted = resting(namespace)[0]
        (described,) = json.loads(namespace.command("partition", "list", "--json").stdout)
        assert described["released"] >= noted, "what cannot be delivered holds up what is released"
        assert "cannot be written" in namespace.said(owner)
        secured.allow([tasks])
        namespace.worker()
        namespace.finish(load, items)
        assert row.during > 0
    finally:
        namespace.stop()


def resting(namespace: Namespace) -> list[int]:
    """Offsets of the records that note a task which could not be written."""
    return [
        record.offset
        for record, decoded in raw.history(namespace, 0)
        if isinstance(decoded, CommitRecord)
        for transition in decoded.transitions
        for note in transition.notes
        if isinstance(note, ActivityTaskParked)
    ]
