"""I9 and I10: what left has a live record that asked for it, and what a live record asked for has left."""

from __future__ import annotations

from collections.abc import Mapping

from perdure_check.avro import KIND
from perdure_check.effects import signature_of, task_content
from perdure_check.facts import Arrived
from perdure_check.placement import partition_of
from perdure_check.rules.base import Rule, Watcher
from perdure_check.rules.queries import BankQueries
from perdure_check.verdict import Witness


class FencedHaveNoEffect(Rule):
    """No task, no command between workflows and no dead letter stems from a dead record. Outcomes of requests are compared with I1.

    An answer to a query does not say which claim gave it; where a bank is named, it shows by what the answer tells.
    """

    invariant = "I9"
    title = "the fenced have no effect"

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._seen = 0
        bank = self.context.options.bank
        self._queries = BankQueries(bank) if bank is not None and bank.query else None

    def watches(self) -> Mapping[str, Watcher]:
        """See Rule."""
        return {} if self._queries is None else {"WorkflowExecutionSignaled": self._queries.signaled}

    def command(self, arrived: Arrived) -> None:
        """See Rule."""
        if self._queries is not None:
            self._queries.command(arrived)
        if arrived.body is None or (origin := arrived.body["origin"]) is None:
            return
        name = origin["partition"], origin["offset"], origin["index"]
        expected = self.context.expected.commands.get(name)
        place = (
            f"the command at offset {arrived.record.offset} of partition {arrived.record.partition}, from record {name[1]}, index {name[2]}"
        )
        if expected is None:
            if arrived.was_there_first and self._is_known(*name[:2]):
                self.breaks(f"{place}, stems from no live record", None, None, name[1])
            return
        self._seen += 1
        expected.arrived = True
        body = arrived.body["body"]
        if (expected.workflow_id, expected.signature) != (arrived.body["workflow_id"], signature_of(body)):
            self.breaks(f"{place}, is not the {body[KIND]} that the record asked for", None, None, name[1])

    def task(self, arrived: Arrived) -> None:
        """See Rule."""
        task = arrived.body
        if task is None:
            return
        attempt = task["run_id"], task["scheduled_event_id"], task["attempt"]
        self.context.expected.tasks_arrived.add(attempt)
        self._seen += 1
        partition = partition_of(task["workflow_id"], self.context.partitions)
        content = task_content(task)
        if self.context.expected.task_contents.get(attempt[:2], content) != content:
            where = f"{arrived.record.topic}[{arrived.record.partition}]"
            self.breaks(
                f"the task at offset {arrived.record.offset} of {where} is not what event {attempt[1]} of run {attempt[0]} asked for"
            )
        if attempt in self.context.expected.tasks or not arrived.was_there_first:
            return
        if partition not in self.context.stopped and self.context.begins[partition].checkpoint is None:
            record = arrived.record
            sentence = (
                f"the task at offset {record.offset} of {record.topic}[{record.partition}] (event {attempt[1]}, attempt {attempt[2]} "
            )
            self.breaks(f"{sentence}of run {attempt[0]} of {task['workflow_id']!r}) stems from no live record")

    def reply(self, arrived: Arrived) -> None:
        """See Rule."""
        if self._queries is None or self.context.is_trimmed or self.context.stopped or not arrived.was_there_first:
            return
        if problem := self._queries.reply(arrived):
            self.breaks(problem)

    def dead_letter(self, arrived: Arrived) -> None:
        """See Rule."""
        letter = arrived.body
        if letter is None or letter["source_topic"] != f"{self.context.namespace}.commands":
            return
        place = letter["source_topic"], letter["source_partition"], letter["source_offset"]
        self.context.expected.dead_letters_arrived.add(place)
        self._seen += 1
        partition = place[1]
        is_known = partition in self.context.begins and self._is_known(partition, self.context.begins[partition].offset)
        is_whole = is_known and self.context.begins[partition].checkpoint is None
        if place not in self.context.expected.dead_letters and arrived.was_there_first and is_whole:
            self.breaks(f"the dead letter of {place[0]}[{place[1]}]:{place[2]} stems from no live record")

    def _is_known(self, partition: int, offset: int) -> bool:
        """Whether the record there would have been read."""
        begin = self.context.begins.get(partition)
        return begin is not None and partition not in self.context.stopped and offset >= begin.offset

    def finish(self) -> None:
        """See Rule."""
        told = "answers to queries do not say which claim gave them"
        if self._queries is not None:
            told = f"{self._queries.answers} answers of accounts, neither stale nor ahead of the log"
        self.detail = f"{self._seen} commands, tasks and dead letters; {told}"


class EffectsComplete(Rule):
    """Every effect of a live record at or below `released` is in its topic; of all live records once all is quiet."""

    invariant = "I10"
    title = "effects complete"

    def finish(self) -> None:
        """See Rule."""
        expected = self.context.expected
        judged = self._commands() + self._tasks() + self._replies()
        letters = f"{self.context.namespace}.dead-letters"
        if self.context.begins_at_zero(letters):
            for place, (partition, offset) in expected.dead_letters.items():
                if place[0] != f"{self.context.namespace}.commands":
                    continue
                judged += 1
                if self._must_be_there(partition, offset) and place not in expected.dead_letters_arrived:
                    self.missing(f"the dead letter of {place[0]}[{place[1]}]:{place[2]} never left", partition, offset)
        self.detail = f"{judged} effects were looked for; those whose topics have deleted records since were not"

    def _must_be_there(self, partition: int, offset: int) -> bool:
        return self.context.options.quiescent or offset <= self.context.positions[partition].released

    def _commands(self) -> int:
        judged = 0
        for (partition, offset, index), expected in self.context.expected.commands.items():
            judged += 1
            if expected.arrived or not self._must_be_there(partition, offset):
                continue
            target = partition_of(expected.workflow_id, self.context.partitions)
            bounds = self.context.bounds.get((f"{self.context.namespace}.commands", target))
            mark = self.context.positions[target].marks.get(partition, (-1, -1))
            if target in self.context.stopped or bounds is None or (bounds.start > 0 and mark >= (offset, index)):
                continue  # it was applied, and deleted since
            sentence = f"its command {index} to workflow {expected.workflow_id!r} is not in partition {target} of the commands"
            self.missing(sentence, partition, offset)
        return judged

    def _tasks(self) -> int:
        prefix = f"{self.context.namespace}.tasks."
        topics = [name for name in self.context.topic_partitions if name.startswith(prefix)]
        if not all(self.context.begins_at_zero(name) for name in topics):
            return 0
        expected = self.context.expected
        for attempt, (partition, offset, _) in expected.tasks.items():
            if attempt not in expected.tasks_arrived and attempt not in expected.parked and self._must_be_there(partition, offset):
                run_id, event_id, number = attempt
                self.missing(
                    f"attempt {number} of event {event_id} of run {run_id} was never dispatched, and is not parked", partition, offset
                )
        return len(expected.tasks)

    def _replies(self) -> int:
        topic = f"{self.context.namespace}.replies"
        judged = 0
        for (client_id, request_id, kind), reply in self.context.expected.replies.items():
            bounds = self.context.bounds.get((topic, reply.to_partition))
            if bounds is None or bounds.start > 0:
                continue  # there is no such place, or it has been emptied since
            judged += 1
            if not reply.arrived and self._must_be_there(reply.partition, reply.offset):
                sentence = f"its {kind} to client {client_id!r}, request {request_id!r}, is not among the replies"
                self.missing(sentence, reply.partition, reply.offset)
        return judged

    def reply(self, arrived: Arrived) -> None:
        """See Rule."""
        if arrived.body is None:
            return
        client_id = dict(arrived.record.headers).get("client-id", arrived.record.key or b"").decode("utf-8", "replace")
        expected = self.context.expected.replies.get((client_id, arrived.body["request_id"], arrived.body["body"][KIND]))
        if expected is not None:
            expected.arrived = True

    def missing(self, sentence: str, partition: int, offset: int) -> None:
        """An effect that should be there."""
        self.witness(Witness(sentence, partition, (offset,)))
