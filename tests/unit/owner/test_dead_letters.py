"""What cannot be used goes to the dead letters with its reason, and the partition goes on with the next command (P9)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from kit.ports import Crash, PortCalls
from kit.slow_medium import Fate
from kit.world import FIRST, NAMESPACE, SECOND, STEP_MS, Process, World, commands_of, open_account, plain, transfer
from perdure._log.errors import LogUnauthorized
from perdure._log.memory import MemoryLog
from perdure._log.memory.medium import Append
from perdure._log.port import Record
from perdure_platform.node.assignment import Stage
from perdure_platform.node.topics import TaskTopics
from perdure_platform.partition.decode import CLOCK_SLACK_MS, FORMAT_LEVEL
from perdure_platform.partition.transition.activity import PARKED_RETRY_MS
from perdure_schemas import codec, notes
from perdure_schemas.commands import Command, ListWorkflows, Origin, Request, SignalWorkflow
from perdure_schemas.dead_letters import DeadLetter
from perdure_schemas.limits import REQUEST_LIFE_MAX_MS
from perdure_schemas.placement import partition_of
from perdure_schemas.replies import Accepted
from perdure_schemas.topics import TopicSpec

DEPOSIT = Command("account-0", SignalWorkflow("deposit", input=plain(5)))
VALID = codec.encode_command(DEPOSIT)
NOTHING = codec.encode_command(Command("account-0", ListWorkflows()))
HOME = partition_of("account-0", 2)


class Poisoned(World):
    """A world with an open account, in which anybody may append anything to the commands."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.poison: set[int] = set()
        self.medium.watch = self._watch
        self.ask("account-0", open_account())

    def _watch(self, record: Record) -> None:
        """The promises, shown what is no command as one that asks for nothing, which a takeover may record again (W8)."""
        if (record.topic, record.partition, record.offset) in {(*commands_of(HOME), offset) for offset in self.poison}:
            record = replace(record, value=NOTHING)
        self.promises._applied -= {(HOME, offset) for offset in self.poison}
        self.promises.watch(record)

    def put(self, value: bytes, key: bytes = b"account-0") -> int:
        """Append a value that is no usable command; its offset."""
        offset = self.medium.bounds(*commands_of(HOME))[1]
        self.poison.add(offset)
        self.medium.append(*commands_of(HOME), key, value)
        return offset

    def deposit(self) -> str:
        """A client's deposit, sent at once."""
        request = self.ask("account-0", SignalWorkflow("deposit", input=plain(1)))
        self.clients()
        return request

    def letters(self) -> list[DeadLetter]:
        """All dead letters."""
        topic = f"{NAMESPACE}.dead-letters"
        return [codec.decode_dead_letter(record.value) for record in self.medium.read(topic, 0, 0, 10_000)]

    def letter(self) -> DeadLetter:
        (letter,) = self.letters()
        return letter


def settled(poison: Callable[[Poisoned], object]) -> Poisoned:
    """A world in which a deposit came behind the poison, run until it is done."""
    world = Poisoned()
    world.start()
    world.run_until_answered()
    poison(world)
    deposit = world.deposit()
    world.run_until_done()
    assert isinstance(world.asked[deposit].answer, Accepted), "the partition did not go on"
    world.check()
    return world


# -- each reason


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"", "0 bytes that do not begin like a record"),
        (b"\x00", "1 bytes that do not begin like a record"),
        (b'{"signal": "deposit"}', "do not begin like a record"),
        (random.Random(1).randbytes(4_000), "do not begin like a record"),
        (VALID[:2] + b"\x07" * 8 + VALID[10:], "written with schema 0707070707070707, which this build does not have; a newer build may"),
        (codec.encode_dead_letter(DeadLetter("t", 0, 0, "r", "m", b"", b"", 0)), "written with schema"),
        (VALID + b"\x00", "1 bytes follow the record"),
        (VALID[:10] + b"\xff" * 10, "not a record of its schema"),
    ],
    ids=["empty", "a byte", "JSON", "random", "unknown schema", "another topic's record", "something behind it", "nonsense"],
)
def test_bytes_that_are_no_command_are_kept_with_their_place_and_the_reason(value: bytes, says: str) -> None:
    letter = settled(lambda world: world.put(value, b"any key")).letter()
    assert (letter.source_topic, letter.source_partition, letter.source_offset) == (*commands_of(HOME), 1)
    assert letter.reason == "undecodable"
    assert says in letter.message
    assert (letter.key, letter.value) == (b"any key", value)
    assert letter.recorded_at_ms > 1_700_000_000_000


def test_a_command_cut_off_at_any_byte_is_a_dead_letter() -> None:
    world = settled(lambda world: [world.put(VALID[:size]) for size in range(len(VALID))])
    assert [letter.value for letter in world.letters()] == [VALID[:size] for size in range(len(VALID))]
    assert {letter.reason for letter in world.letters()} == {"undecodable"}


def test_a_command_with_any_byte_changed_is_a_dead_letter_or_a_command_and_never_the_end() -> None:
    damaged = [VALID[:at] + bytes([VALID[at] ^ change]) + VALID[at + 1 :] for at in range(len(VALID)) for change in (0x01, 0x80, 0xFF)]
    world = Poisoned()
    world.medium.watch = lambda record: None  # some are commands after all, of the kind that no client sends
    process = world.start()
    for value in damaged:
        world.put(value)
    for _ in range(100):
        world.step()
    owner = process.node.partitions[HOME].owner
    assert owner is not None
    assert owner.next_command_offset >= len(damaged)
    assert {letter.value for letter in world.letters()} <= set(damaged)
    assert len(world.letters()) > len(damaged) // 2


def test_a_newer_format_is_kept_for_a_newer_build() -> None:
    value = codec.encode_command(replace(DEPOSIT, format_level=FORMAT_LEVEL + 1))
    letter = settled(lambda world: world.put(value)).letter()
    assert (letter.reason, letter.message) == ("unknown_format", "format level 2 is above 1")
    assert letter.value == value


def test_a_newer_format_from_another_partition_stops_the_partition_rather_than_be_lost() -> None:
    world = Poisoned()
    process = world.start()
    world.run_until_answered()
    sent = replace(DEPOSIT, format_level=FORMAT_LEVEL + 1, origin=Origin(1 - HOME, 0, 0))
    world.medium.watch = lambda record: None  # no partition has sent it
    world.put(codec.encode_command(sent))
    for _ in range(10):
        world.step()
    assert process.node.partitions[HOME].stage is Stage.STOPPED
    assert "needs format level 2, and this build reads 1: run a newer build" in str(process.node.partitions[HOME].failure)
    assert process.node.partitions[1 - HOME].stage is Stage.LEADING
    assert world.letters() == []


def test_a_command_in_the_wrong_partition_is_told_the_right_one() -> None:
    stray = next(f"stray-{number}" for number in range(100) if partition_of(f"stray-{number}", 2) != HOME)
    letter = settled(lambda world: world.put(codec.encode_command(replace(DEPOSIT, workflow_id=stray)), stray.encode())).letter()
    assert letter.reason == "wrong_partition"
    assert letter.message == f"workflow '{stray}' belongs to partition {1 - HOME}, not {HOME}"


@pytest.mark.parametrize("workflow_id", ["", "a\nb", "x" * 1001])
def test_an_unusable_workflow_id_is_a_dead_letter(workflow_id: str) -> None:
    letter = settled(lambda world: world.put(codec.encode_command(replace(DEPOSIT, workflow_id=workflow_id)))).letter()
    assert letter.reason == "invalid_workflow_id"
    assert "workflow id" in letter.message


@pytest.mark.parametrize(("beyond_ms", "is_taken"), [(CLOCK_SLACK_MS - 1_000, True), (CLOCK_SLACK_MS + 60_000, False)])
def test_a_request_that_would_have_to_be_remembered_for_too_long_is_a_dead_letter(beyond_ms: int, is_taken: bool) -> None:
    world = Poisoned()
    world.start()
    world.run_until_answered()
    request = Request("for ever", world.clock.ms + REQUEST_LIFE_MAX_MS + beyond_ms, None)
    command = replace(DEPOSIT, request=request)
    if is_taken:
        world.send(command)
    else:
        world.put(codec.encode_command(command))
    for _ in range(20):
        world.step()
    assert world.promises.accounts["account-0"].balance == (5 if is_taken else 0)
    assert [letter.reason for letter in world.letters()] == ([] if is_taken else ["expires_too_late"])


@pytest.mark.parametrize("key", [b"", b"account-3", b"\xff\xfe"])
def test_the_key_of_a_command_decides_nothing(key: bytes) -> None:
    """Where a command lies and which workflow it names are compared; the key is for Kafka's own tools."""
    nothing = codec.encode_command(replace(DEPOSIT, body=SignalWorkflow("deposit", input=plain(0))))
    world = settled(lambda world: world.medium.append(*commands_of(HOME), key or None, nothing))
    assert world.letters() == []
    assert world.promises.accounts["account-0"].deposits == 2


# -- once


def test_a_dead_letter_is_not_written_again_by_the_next_owners() -> None:
    world = settled(lambda world: [world.put(VALID[:size]) for size in (0, 5, 20)])
    for name in (SECOND, FIRST):
        world.lose_process(0)
        world.lose_process(0, SECOND)
        world.stores[name].stores.clear()
        world.start(name=name)
        world.run_until_done()
    assert [letter.source_offset for letter in world.letters()] == sorted(world.poison)
    world.check()


def poisoned_run(calls: PortCalls) -> Poisoned:
    """Poison among deposits; the owner dies where `calls` says, and another goes on."""
    world = Poisoned()
    for number in range(3):
        world.deposit()
        world.put(VALID[: 7 * number])
    try:
        world.start(calls)
        world.run_until_done()
    except Crash:
        world.lose_process(1)
        world.start()
        world.run_until_done()
    world.check()
    return world


def test_an_owner_that_dies_anywhere_leaves_every_dead_letter_at_least_once_and_no_other() -> None:
    """W8. A copy is one of the same place, so that whoever reads the dead letters can tell."""
    calls = PortCalls()
    poisoned_run(calls)
    copies = 0
    for at in range(1, len(calls.names) + 1, 3):
        for before in (True, False):
            world = poisoned_run(PortCalls(at, before=before))
            found = Counter(letter.source_offset for letter in world.letters())
            assert found.keys() == world.poison, f"port call {at}, {'before' if before else 'after'}"
            copies += sum(found.values()) - len(found)
    assert copies, "no crash came between a dead letter and its acknowledgement"


def test_a_dead_letter_whose_append_fails_is_sent_again() -> None:
    world = Poisoned()
    lost = [3]

    def fate(append: Append) -> Fate:
        if append.topic.endswith("dead-letters") and lost[0]:
            lost[0] -= 1
            return Fate.LOST
        return Fate.LANDS

    world.medium.fate = fate
    world.start()
    world.put(b"poison")
    world.run_until_done()
    assert lost == [0]
    assert world.letter().value == b"poison"


# -- tasks that cannot be delivered


class Guarded(MemoryLog):
    """A log that lets nobody make a task topic until it is told to."""

    allows = False

    def create_topics(self, specs: Sequence[TopicSpec], timeout_ms: int) -> None:
        if not self.allows:
            raise LogUnauthorized(f"{specs[0].name}: this user may not create topics")
        super().create_topics(specs, timeout_ms)


def guarded(world: World, log: Guarded, name: str = FIRST) -> Process:
    """An owner whose task topics are made through `log`."""
    process = world.start(name=name)
    task_topics = TaskTopics(log, NAMESPACE, monotonic_ms=lambda: float(world.clock.ms))
    process.node._around = replace(process.node._around, task_topics=task_topics)
    return process


def parked(world: World) -> list[notes.ActivityTaskParked]:
    """Every note of a parked task in the log."""
    every = [note for _, _, record in world.live() for transition in record.transitions for note in transition.notes]
    return [note for note in every if isinstance(note, notes.ActivityTaskParked)]


@pytest.mark.parametrize("takeover", [False, True])
def test_a_task_whose_queue_cannot_be_made_is_parked_with_the_reason_and_comes_out_later(takeover: bool) -> None:
    world = World()
    log = Guarded(world.medium)
    for account in ("account-0", "account-3"):
        world.ask(account, open_account())
    process = guarded(world, log)
    world.ask("transfer-0", transfer("account-0", "account-3", 2))
    for _ in range(2 * PARKED_RETRY_MS // STEP_MS):
        world.step()
    assert len(parked(world)) >= 2, "it was not tried again"
    assert "queue 'sim' cannot be written: sim.tasks.sim: this user may not create topics" in parked(world)[0].reason
    owner = process.node.partitions[partition_of("transfer-0", 2)].owner
    assert owner is not None
    assert owner.is_settled, "the parked task holds up what is released"
    log.allows = True
    if takeover:
        world.lose_process(2)
        guarded(world, log, SECOND)
    world.run_until_done()
    world.check()
    assert world.promises.results["transfer-0"] == "done"


def test_a_queue_that_was_deleted_is_parked_until_it_is_there_again() -> None:
    world = World()
    for account in ("account-0", "account-3"):
        world.ask(account, open_account())
    world.start()
    world.ask("transfer-0", transfer("account-0", "account-3", 2))
    world.run_until_done()
    gone = world.medium._topics.pop(f"{NAMESPACE}.tasks.sim")
    world.ask("transfer-3", transfer("account-0", "account-3", 2))
    for _ in range(100):
        world.step()
    assert "sim.tasks.sim" in parked(world)[0].reason
    world.medium._topics[f"{NAMESPACE}.tasks.sim"] = gone
    world.run_until_done()
    world.check()
    assert world.promises.results["transfer-3"] == "done"


def test_a_queue_that_was_made_anew_with_fewer_partitions_is_written_again() -> None:
    world = World()
    log = Guarded(world.medium)
    log.allows = True
    for account in ("account-0", "account-3"):
        world.ask(account, open_account())
    guarded(world, log)
    world.ask("transfer-0", transfer("account-0", "account-3", 2))
    world.run_until_done()
    gone = world.medium._topics.pop(f"{NAMESPACE}.tasks.sim")
    world.log.create_topics([TopicSpec(f"{NAMESPACE}.tasks.sim", 1, gone.settings)], 0)
    for partition in range(4):
        world._positions[f"{NAMESPACE}.tasks.sim", partition] = 0
    for number in range(1, 4):
        world.ask(f"transfer-{number}", transfer("account-0", "account-3", 2))
    world.run_until_done(5 * PARKED_RETRY_MS // STEP_MS)
