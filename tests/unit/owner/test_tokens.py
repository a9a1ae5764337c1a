"""Reports and origins that somebody made up change nothing where owners have token keys (faults.md 6.3)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kit.world import FIRST, NAMESPACE, World, commands_of, open_account, plain, transfer
from perdure._log.port import Headers, Record
from perdure_platform.partition.tokens import ACCEPT_UNSIGNED, TokenKeysUnusable, Tokens, read_tokens
from perdure_schemas import codec
from perdure_schemas.commands import (
    ActivityReference,
    ActivityStarted,
    Command,
    CompleteActivity,
    ListWorkflows,
    Origin,
    ReplyAddress,
    SignalWorkflow,
    StartWorkflow,
)
from perdure_schemas.dead_letters import DeadLetter
from perdure_schemas.headers import ORIGIN_TOKEN, TASK_TOKEN
from perdure_schemas.placement import partition_of
from perdure_schemas.replies import Accepted, RefusalCode, Refused
from perdure_schemas.tasks import ActivityTask

OLD, NEW = secrets.token_hex(16).encode(), secrets.token_hex(16).encode()
TASK = ActivityTask("pay-1", "run-1", "Pay", 5, 2, "5", "withdraw", "bank", 0, 0)
REPORT = Command("pay-1", CompleteActivity(ActivityReference("run-1", 5, 2), plain("done")))
MESSAGE = Command("pay-2", SignalWorkflow("credit", input=plain(5)), origin=Origin(1, 70, 0))


def arrived(command: Command, headers: Headers) -> Record:
    return Record("sim.commands", 0, 0, 0, None, codec.encode_command(command), headers)


def objection(tokens: Tokens, command: Command, headers: Headers = ()) -> str:
    return tokens.objection(arrived(command, headers), command)


# -- what a token is good for


def test_a_report_is_believed_with_the_token_of_its_task() -> None:
    tokens = Tokens("bank", (NEW,))
    assert objection(tokens, REPORT, tokens.of_task(TASK)) == ""
    assert objection(tokens, replace(REPORT, body=ActivityStarted(ActivityReference("run-1", 5, 2), "n", ReplyAddress("c", 0)))) != ""


@pytest.mark.parametrize(
    "other",
    [
        replace(TASK, workflow_id="pay-2"),
        replace(TASK, run_id="run-2"),
        replace(TASK, scheduled_event_id=6),
        replace(TASK, attempt=1),
        replace(TASK, workflow_id="pay-1run", run_id="-1"),
        replace(TASK, scheduled_event_id=52, attempt=0),
    ],
    ids=["workflow", "run", "event", "attempt", "shifted text", "shifted number"],
)
def test_a_token_is_of_no_use_for_another_attempt(other: ActivityTask) -> None:
    tokens = Tokens("bank", (NEW,))
    assert "was not made for this" in objection(tokens, REPORT, tokens.of_task(other))


def test_a_token_is_of_no_use_in_another_namespace_with_another_key_or_for_another_purpose() -> None:
    tokens = Tokens("bank", (NEW,))
    for headers in (Tokens("shop", (NEW,)).of_task(TASK), Tokens("bank", (OLD,)).of_task(TASK)):
        assert "was not made for this" in objection(tokens, REPORT, headers)
    ((_, signature),) = tokens.of_command(codec.encode_command(REPORT))
    assert "was not made for this" in objection(tokens, REPORT, ((TASK_TOKEN, signature),))
    assert "carries no task-token" in objection(tokens, REPORT, ((ORIGIN_TOKEN, signature),))


def test_every_byte_of_a_message_between_workflows_is_covered() -> None:
    tokens = Tokens("bank", (NEW,))
    headers = tokens.of_command(codec.encode_command(MESSAGE))
    assert objection(tokens, MESSAGE, headers) == ""
    for changed in (
        replace(MESSAGE, origin=Origin(1, 71, 0)),
        replace(MESSAGE, workflow_id="pay-3"),
        replace(MESSAGE, body=SignalWorkflow("credit", input=plain(6))),
    ):
        assert "was not made for this" in objection(tokens, changed, headers)
    assert "carries no origin-token" in objection(tokens, MESSAGE)


def test_a_changed_token_is_no_token() -> None:
    tokens = Tokens("bank", (NEW,))
    ((_, signature),) = tokens.of_task(TASK)
    for at in range(len(signature)):
        changed = signature[:at] + (b"0" if signature[at : at + 1] != b"0" else b"1") + signature[at + 1 :]
        assert objection(tokens, REPORT, ((TASK_TOKEN, changed),))
    for cut in (b"", signature[:-1], signature + b"0", b"\xff" * 64):
        assert objection(tokens, REPORT, ((TASK_TOKEN, cut),))


def test_keys_are_changed_without_losing_what_is_on_its_way() -> None:
    before, between, after = Tokens("bank", (OLD,)), Tokens("bank", (NEW, OLD)), Tokens("bank", (NEW,))
    assert objection(between, REPORT, before.of_task(TASK)) == ""
    assert between.of_task(TASK) == after.of_task(TASK) != before.of_task(TASK)
    assert objection(after, REPORT, before.of_task(TASK))


def test_a_namespace_goes_over_to_keys_without_believing_wrong_tokens() -> None:
    lenient = Tokens("bank", (NEW,), accepts_unsigned=True)
    assert objection(lenient, REPORT) == objection(lenient, MESSAGE) == ""
    assert "was not made for this" in objection(lenient, REPORT, Tokens("bank", (OLD,)).of_task(TASK))


def test_without_keys_nothing_is_signed_and_nothing_is_asked_for() -> None:
    none = Tokens("bank")
    assert none.of_task(TASK) == none.of_command(b"x") == ()
    assert objection(none, REPORT) == objection(none, MESSAGE) == ""


# -- key files


def test_a_key_file_holds_a_key_a_line_and_comments(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# new\n{NEW.decode()}\n\n  {OLD.decode()}  \n{ACCEPT_UNSIGNED}\n")
    path.chmod(0o600)
    assert read_tokens("bank", path) == Tokens("bank", (NEW, OLD), accepts_unsigned=True)
    assert read_tokens("bank", None) == Tokens("bank")


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "holds no key"), (f"{ACCEPT_UNSIGNED}\n", "holds no key"), ("short\n", "key 1 .* is shorter"), ("ü" * 40, "cannot be read")],
)
def test_a_key_file_that_is_of_no_use_is_refused_without_showing_what_is_in_it(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text, "utf-8")
    with pytest.raises(TokenKeysUnusable, match=says) as caught:
        read_tokens("bank", path)
    assert "short\n" not in str(caught.value)
    with pytest.raises(TokenKeysUnusable, match="cannot be read"):
        read_tokens("bank", tmp_path / "absent")


# -- a namespace whose owners have keys


class Signed(World):
    """Its worker gives back the token that came with a task; forgers append what they like."""

    def __init__(self) -> None:
        self.headers: dict[tuple[str, int, int], Headers] = {}
        super().__init__(tokens=Tokens(NAMESPACE, (NEW,)))
        self.medium.watch = self._watch

    def _watch(self, record: Record) -> None:
        """The promises, shown what says that an owner sent it, and was made up, as a command that asks for nothing."""
        if record.topic == commands_of(0)[0]:
            command = codec.decode_command(record.value)
            if command.origin is not None and self.tokens.objection(record, command):
                record = replace(record, value=codec.encode_command(Command("", ListWorkflows())))
        self.promises.watch(record)

    def take_tasks(self, topic: str) -> None:
        for partition in range(self.log.describe_topics([topic], 0)[topic].partitions):
            for record in self.medium.read(topic, partition, self._positions[topic, partition], 10_000):
                task = codec.decode_task(record.value)
                self.headers[task.run_id, task.scheduled_event_id, task.attempt] = record.headers
        super().take_tasks(topic)

    def send(self, command: Command) -> None:
        headers: Headers = ()
        if (reference := getattr(command.body, "activity", None)) is not None:
            headers = self.headers.get((reference.run_id, reference.scheduled_event_id, reference.attempt), ())
        self.append(command, headers)

    def append(self, command: Command, headers: Headers = ()) -> None:
        partition = partition_of(command.workflow_id, self.partitions)
        self.medium.append(*commands_of(partition), command.workflow_id.encode(), codec.encode_command(command), headers)

    def letters(self) -> list[DeadLetter]:
        return [codec.decode_dead_letter(record.value) for record in self.medium.read(f"{NAMESPACE}.dead-letters", 0, 0, 10_000)]


def transferring() -> Signed:
    world = Signed()
    for account in ("account-0", "account-3"):
        world.ask(account, open_account())
    world.ask("transfer-0", transfer("account-0", "account-3", 2))
    world.start()
    return world


def test_transfers_and_messages_between_partitions_run_as_ever_and_survive_a_takeover() -> None:
    world = transferring()
    for _ in range(30):
        world.step()
    world.lose_process(2)
    world.start(name=FIRST)
    world.run_until_done()
    world.check()
    assert world.letters() == []
    assert world.promises.results["transfer-0"] == "done"
    assert all(any(name == TASK_TOKEN for name, _ in headers) for headers in world.headers.values())


def _hold_tasks(world: Signed) -> list[ActivityTask]:
    """Tasks that are out, and that nobody works on."""
    world.workers = lambda: None  # type: ignore[method-assign]
    for _ in range(60):
        world.step()
        for name in world.medium.names(f"{NAMESPACE}.tasks."):
            world.take_tasks(name)
        if world.tasks:
            return world.tasks
    raise AssertionError("no task came")


@pytest.mark.parametrize("token", ["none", "of another attempt", "made up"])
def test_a_forged_result_is_set_aside_and_the_real_one_counts(token: str) -> None:
    world = transferring()
    task = _hold_tasks(world)[0]
    headers: Callable[[], Headers] = {
        "none": lambda: (),
        "of another attempt": lambda: world.tokens.of_task(replace(task, attempt=task.attempt + 1)),
        "made up": lambda: ((TASK_TOKEN, secrets.token_hex(32).encode()),),
    }[token]
    reference = ActivityReference(task.run_id, task.scheduled_event_id, task.attempt)
    world.append(Command(task.workflow_id, CompleteActivity(reference, plain("forged"))), headers())
    for _ in range(20):
        world.step()
    (letter,) = world.letters()
    assert letter.reason == "forged"
    assert "it reports on an activity" in letter.message
    del world.workers
    world.run_until_done()
    world.check()
    assert world.promises.results["transfer-0"] == "done"


def test_a_forged_origin_moves_no_mark() -> None:
    world = transferring()
    world.run_until_answered()
    home = partition_of("account-3", world.partitions)
    silence = Command("account-3", SignalWorkflow("deposit", input=plain(1_000_000)), origin=Origin(1 - home, 1 << 40, 0))
    world.append(silence)
    world.append(silence, ((ORIGIN_TOKEN, secrets.token_hex(32).encode()),))
    for number in range(1, 4):  # these depend on messages from the partition that was to be silenced
        world.ask(f"transfer-{number}", transfer("account-0", "account-3", 2 * number))
    world.run_until_done()
    world.check()
    assert [letter.reason for letter in world.letters()] == ["forged", "forged"]
    assert [world.promises.results[f"transfer-{number}"] for number in range(4)] == ["done"] * 4


def test_a_client_that_reports_by_ids_is_told_to_use_the_token() -> None:
    world = transferring()
    task = _hold_tasks(world)[0]
    request = world.ask(task.workflow_id, CompleteActivity(ActivityReference("", activity_id=task.activity_id), plain("by id")))
    world.run_until_answered()
    answer = world.asked[request].answer
    assert isinstance(answer, Refused)
    assert answer.code == RefusalCode.INVALID
    assert "activity.info().task_token" in answer.message
    with_token = world.ask(
        task.workflow_id, CompleteActivity(ActivityReference(task.run_id, task.scheduled_event_id, task.attempt), plain(1))
    )
    world.run_until_answered()
    assert isinstance(world.asked[with_token].answer, Accepted)
    assert world.letters() == []


def test_starts_and_signals_of_clients_need_no_token() -> None:
    world = Signed()
    world.start()
    started = world.ask("counter-0", StartWorkflow("SimCounter", "sim", signal=SignalWorkflow("count", input=plain(1))))
    world.run_until_answered()
    assert not isinstance(world.asked[started].answer, Refused)
