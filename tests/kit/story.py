"""Tells what happens in a schedule, a line for each thing: step, time, who did it, what, and where it stands in the log under which claim.

python -m kit.story tests/sim/tapes/some.tape
python -m kit.story 1234
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from kit.chooser import Tape
from kit.schedule import LONG
from kit.schedules import AnySchedule, from_tape, scheduled
from perdure._log.port import Record
from perdure_schemas import codec
from perdure_schemas.errors import CodecError, LogCorrupt
from perdure_schemas.history import Carried, Checkpoint, Claim, CommitRecord, Forget, HistoryRecord, Strike
from perdure_schemas.live import LiveState, judge, link_of


class Story:
    """Tells a schedule, which has not run yet, to `say`."""

    def __init__(self, schedule: AnySchedule, say: Callable[[str], None]) -> None:
        self._schedule = schedule
        self._say = say
        self._began_ms = schedule.world.clock.ms
        self._step = "0"
        self._states: dict[int, LiveState] = defaultdict(LiveState)
        self._watch = schedule.world.medium.watch
        schedule.tell = self._tell
        schedule.world.medium.watch = self._landed

    def _tell(self, what: str) -> None:
        if what.startswith("step "):
            self._step = what.removeprefix("step ")
        elif what == "healing":
            self._step = "heal"
        else:
            self._line(what)

    def _line(self, what: str) -> None:
        self._say(f"{self._step:>8} {self._schedule.world.clock.ms - self._began_ms:>7} ms  {self._schedule.acting:<8} {what}")

    def _landed(self, record: Record) -> None:
        topic = record.topic.split(".", 1)[1]
        self._line(f"{topic} {record.partition}:{record.offset} {self._text(topic, record)}")
        self._watch(record)

    def _text(self, topic: str, record: Record) -> str:
        try:
            if topic == "history":
                return self._history(record, codec.decode_history(record.value))
            if topic == "commands":
                command = codec.decode_command(record.value)
                origin = command.origin
                source = "" if origin is None else f" from {origin.partition}:{origin.offset}.{origin.index}"
                return f"{type(command.body).__name__} for {command.workflow_id}{source}"
            if topic == "replies":
                reply = codec.decode_reply(record.value)
                return f"{type(reply.body).__name__} to {reply.request_id}"
            if topic.startswith("tasks"):
                task = codec.decode_task(record.value)
                return f"{task.activity_type} of {task.workflow_id}, attempt {task.attempt}"
        except CodecError:
            return "cannot be read"
        return ""

    def _history(self, read: Record, record: HistoryRecord) -> str:
        state = self._states[read.partition]
        try:
            verdict, self._states[read.partition] = judge(state, record, link_of(read.value))
        except LogCorrupt as error:
            return f"stops every reader: {error}"
        if isinstance(record, Claim):
            return f"Claim {record.claim_number} ({record.claim_id}, on {record.previous_claim_id or 'nothing'}) is {verdict}"
        return f"{type(record).__name__} {record.claim_number}.{record.sequence} is {verdict}{_contents(record)}"


def _contents(record: HistoryRecord) -> str:
    match record:
        case CommitRecord():
            events = [type(event).__name__ for one in record.transitions for event in (*one.inbound, *one.produced)]
            events += [type(note).__name__ for one in record.transitions for note in one.notes]
            ids = dict.fromkeys(one.workflow_id for one in record.transitions)
            about = [", ".join(ids), " ".join(events), f"commands {list(record.command_offsets)}", f"watermark {record.watermark}"]
            return ": " + "; ".join(part for part in about if part)
        case Checkpoint():
            return f": start {record.start}, watermark {record.watermark}"
        case Forget():
            return f": {', '.join(run.workflow_id for run in record.runs)}"
        case Carried():
            return f": {record.run.workflow_id}, part {record.part} of {record.parts}"
        case Strike():
            return f": {record.workflow_id} at {record.command_offset}"
        case _:
            return ""


def main() -> int:
    """Tell one schedule."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("schedule", help="a seed, or a tape's file")
    parser.add_argument("--steps", type=int, default=LONG, help="of a seed")
    parser.add_argument("--trims", action="store_true", help="of a seed")
    parser.add_argument("--real", action="store_true", help="of a seed: with real clients and workers")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if arguments.schedule.isdecimal():
        schedule = scheduled(int(arguments.schedule), arguments.steps, trims=arguments.trims, is_real=arguments.real)
    else:
        schedule = from_tape(Tape.load(Path(arguments.schedule)))
    Story(schedule, print)
    try:
        schedule.run()
    except Exception as error:
        print(f"FAILED {type(error).__name__}: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
