"""check(log, namespace) -> Report: reads every topic once, tells the rules, and asks each for its verdict.

The ends of the other topics are looked up before and after those of the histories: what was there before must have its cause in what is
read of the histories, and what they ask for must be there afterwards. So a namespace may be checked while it is at work.
"""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

from perdure_check.agreement import Reader, differences
from perdure_check.avro import KIND, Decoded, Undecodable
from perdure_check.beginning import NoBeginning, find_beginning
from perdure_check.context import Begin, Context, Options, Settled
from perdure_check.effects import signature_of
from perdure_check.facts import Arrived, Entry, Fact, Run
from perdure_check.fold import KNOWN_EVENTS, KNOWN_NOTES, Fold
from perdure_check.live import CHECKPOINT, CLAIM, COMMIT, LiveRule, Missing
from perdure_check.log import Bounds, Place, Record, Source, Trimmed, Unreadable
from perdure_check.poison import FORGED, can_be_forged
from perdure_check.positions import Positions
from perdure_check.rules import make_rules
from perdure_check.rules.base import Rule, Watcher
from perdure_check.schemas import COMMANDS, DEAD_LETTERS, HISTORY, REPLIES, TASKS, decoder
from perdure_check.spool import Spooled
from perdure_check.verdict import Report, Witness

ATTEMPTS_MAX = 10
"""A partition may be trimmed while it is read; then all is read again."""

STARTS_MAX = 3
"""Starts of one history from which it is read again; the newest ones."""


def check(source: Source, namespace: str, options: Options | None = None) -> Report:
    """Check one namespace. Raises Unreadable; Trimmed if records were deleted under this reader again and again."""
    for _ in range(ATTEMPTS_MAX - 1):
        with contextlib.suppress(Trimmed):
            return _check_once(source, namespace, options)
    return _check_once(source, namespace, options)


def _check_once(source: Source, namespace: str, options: Options | None) -> Report:
    topics = source.topics(f"{namespace}.")
    history = f"{namespace}.history"
    if history not in topics:
        raise Unreadable(f"there is no topic {history}; is {namespace!r} the right namespace?")
    context = Context(namespace, topics[history], options or Options(), topic_partitions=topics)
    spooled = Spooled(source)
    try:
        return _Check(spooled, context).run()
    finally:
        spooled.close()


class _Check:
    def __init__(self, source: Spooled, context: Context) -> None:
        self._source = source
        self._context = context
        self._rules = make_rules(context)
        self._by_invariant = {rule.invariant: rule for rule in self._rules}
        self._watchers: dict[str, list[Watcher]] = defaultdict(list)
        for rule in self._rules:
            for kind, watcher in rule.watches().items():
                self._watchers[kind].append(watcher)
        self._entry = _told(self._rules, "entry")
        self._forgotten = _told(self._rules, "forgotten")
        self._unknown: Counter[str] = Counter()

    def run(self) -> Report:
        context = self._context
        history = f"{context.namespace}.history"
        others = [name for name in sorted(context.topic_partitions) if name != history]
        before = self._bounds(others)
        # What one history says below its first end rests on nothing that is not read of the others.
        context.first_ends = {partition: bounds.end for (_, partition), bounds in self._bounds([history]).items()}
        for partition in range(context.partitions):
            context.bounds[history, partition] = bounds = self._source.bounds(history, partition)
            if bounds.start > 0:
                self._source.spool(history, partition, bounds)
            self._history(history, partition)
        context.bounds.update(self._bounds(others))
        prefix = f"{context.namespace}."
        kinds = {f"{prefix}commands": (COMMANDS, "command"), f"{prefix}replies": (REPLIES, "reply")}
        kinds[f"{prefix}dead-letters"] = (DEAD_LETTERS, "dead_letter")
        for name in [f"{prefix}commands", *(name for name in others if name != f"{prefix}commands")]:
            schema, hook = kinds.get(name, (TASKS, "task") if name.startswith(f"{prefix}tasks.") else ("", ""))
            if schema:
                self._topic(name, schema, _told(self._rules, hook), before)
        for rule in self._rules:
            rule.finish()
        return Report(
            context.namespace, context.partitions, tuple(rule.verdict() for rule in self._rules), context.counts, tuple(self._remarks())
        )

    def _bounds(self, topics: Iterable[str]) -> dict[Place, Bounds]:
        places = [(topic, partition) for topic in topics for partition in range(self._context.topic_partitions.get(topic, 0))]
        return {place: self._source.bounds(*place) for place in places}

    def _bounds_now(self, topic: str, partition: int) -> Bounds:
        """Where a partition begins by now, and the end that was looked up before. Raises Trimmed."""
        end = self._context.bounds[topic, partition].end
        start = self._source.bounds(topic, partition).start
        if start > end:
            raise Trimmed(f"{topic}[{partition}] begins at {start} by now, and ended at {end} when it was looked at first")
        self._context.bounds[topic, partition] = Bounds(start, end)
        return self._context.bounds[topic, partition]

    def _remarks(self) -> Iterable[str]:
        for partition, begin in sorted(self._context.begins.items()):
            if begin.checkpoint is not None:
                yield f"partition {partition} was read from its checkpoint at offset {begin.offset} on; what lies before was trimmed"
        for partition, why in sorted(self._context.stopped.items()):
            yield f"partition {partition} could not be read to its end: {why}"
        for kind, count in sorted(self._unknown.items()):
            yield f"{count} records of kind {kind} were passed over: no rule knows them"

    # -- histories

    def _history(self, topic: str, partition: int) -> None:
        context = self._context
        bounds = context.bounds[topic, partition]
        context.positions[partition] = Positions()
        try:
            begin = find_beginning(self._source, topic, partition, bounds)
        except NoBeginning as error:
            context.begins[partition] = Begin(bounds.start)
            self._stop(partition, bounds.start, str(error))
            return
        context.begins[partition] = begin
        fold = Fold(partition, self, begin.offset if begin.checkpoint is not None else 0)
        rule = LiveRule.before(begin.checkpoint) if begin.checkpoint is not None else LiveRule()
        decode = decoder(HISTORY).decode
        for record in self._source.read(topic, partition, begin.offset, bounds.end):
            context.counts["history records"] += 1
            if partition in context.stopped:
                context.counts["history records behind a stop"] += 1
                self._by_invariant["I17"].witness(
                    Witness("something was appended behind the place where every reader must stop", partition, (record.offset,))
                )
                continue
            try:
                body = decode(record.value)
                cause = rule.judge(body, record.value)
            except (Undecodable, Missing) as error:
                self._stop(partition, record.offset, str(error))
                continue
            self._take(fold, Entry(partition, record.offset, record.timestamp_ms, body[KIND], body, cause))
        context.counts["runs"] += len(fold.runs)
        context.counts["open runs"] += sum(run.is_open for run in fold.runs.values())
        for ended in self._rules:
            ended.partition_read(fold)
        if partition not in context.stopped:
            self._read_again(topic, fold, rule)

    def _read_again(self, topic: str, fold: Fold, rule: LiveRule) -> None:
        """Other readers may begin where a live record says so: they must come to the same."""
        context, state = self._context, self._by_invariant["I6"]
        end = context.bounds[topic, fold.partition].end
        for start in sorted(context.starts[fold.partition], reverse=True)[:STARTS_MAX]:
            context.counts["starts compared"] += 1
            reader = Reader(fold.partition, start)
            reader.read(self._source, topic, end)
            for difference in differences(reader, fold, context.positions[fold.partition], rule):
                state.witness(Witness(f"a reader that begins there comes to something else: {difference}", fold.partition, (start,)))

    def _stop(self, partition: int, offset: int, why: str) -> None:
        self._context.stopped[partition] = why
        self._by_invariant["I2"].witness(Witness(f"no reader gets past this record: {why}", partition, (offset,)))

    def _take(self, fold: Fold, entry: Entry) -> None:
        counts = self._context.counts
        counts["live records" if entry.cause is None else f"dead: {entry.cause}"] += 1
        for told in self._entry:
            told(entry)
        stamps_ms, set_back_ms, partition = self._context.stamps_ms, self._context.set_back_ms, entry.partition
        set_back_ms[partition] = max(set_back_ms[partition], stamps_ms[partition] - entry.timestamp_ms)
        stamps_ms[partition] = max(stamps_ms[partition], entry.timestamp_ms)
        if entry.cause is not None:
            return
        counts[f"live {entry.kind}"] += 1
        if (start := entry.body.get("start", -1)) > self._context.begins[entry.partition].offset:
            self._context.starts[entry.partition].add(start)
        if entry.kind == COMMIT or entry.kind == CHECKPOINT:
            self._settle(entry)
        fold.take(entry)
        if entry.kind != CLAIM:
            self._context.positions[entry.partition].take(entry)

    def _settle(self, entry: Entry) -> None:
        for letter in entry.body.get("dead_letters", ()):
            if letter["reason"] == FORGED and letter["source_topic"] == f"{self._context.namespace}.commands":
                self._context.forged.add((letter["source_partition"], letter["source_offset"]))
        for request in entry.body["requests"]:
            known = self._context.settled.setdefault(request["request_id"], [])
            outcome = request["outcome"]
            settled = Settled(
                request["workflow_id"],
                request["expires_at_ms"],
                signature_of(outcome),
                outcome[KIND],
                outcome["run_id"] if outcome.get("started") else "",
                entry.partition,
                entry.offset,
            )
            if entry.kind == COMMIT or all(one.workflow_id != settled.workflow_id for one in known):
                known.append(settled)

    def event(self, fact: Fact) -> None:
        """From the fold: pass it on to whoever watches its kind."""
        watchers = self._watchers.get(fact.kind)
        if fact.event_id:
            self._context.counts["events"] += not fact.carried
        if watchers is None:
            if fact.kind not in KNOWN_EVENTS and fact.kind not in KNOWN_NOTES:
                self._unknown[fact.kind] += 1
            return
        for watcher in watchers:
            watcher(fact)

    def forgotten(self, run: Run, entry: Entry) -> None:
        """From the fold."""
        for told in self._forgotten:
            told(run, entry)

    def effects(self, entry: Entry, transitions: list[tuple[Run | None, Decoded]]) -> None:
        """From the fold."""
        self._context.expected.derive(entry, transitions)
        if any(run is None for run, _ in transitions):
            self._context.unseen[entry.partition].update(entry.body["command_offsets"])
            self._context.half_seen.add((entry.partition, entry.offset))

    def problem(self, invariant: str, sentence: str, entry: Entry, run: Run | None) -> None:
        """From the fold."""
        self._by_invariant[invariant].breaks(sentence, entry, run)

    # -- the other topics

    def _topic(self, topic: str, schema: str, told: list[Callable[[Arrived], None]], before: dict[Place, Bounds]) -> None:
        decode = decoder(schema).decode
        for partition in range(self._context.topic_partitions[topic]):
            bounds = self._bounds_now(topic, partition)
            first_end = before[topic, partition].end
            for record in self._source.read(topic, partition, bounds.start, bounds.end):
                self._context.counts[f"{schema} records"] += 1
                arrived = _arrived(record, decode, was_there_first=record.offset < first_end)
                if schema == COMMANDS and (partition, record.offset) in self._context.forged and can_be_forged(arrived):
                    self._context.counts["forged commands"] += 1
                    continue  # if a live record did ask for it after all, it is missed as an effect
                for tell in told:
                    tell(arrived)


def _arrived(record: Record, decode: Callable[[bytes], Decoded], *, was_there_first: bool) -> Arrived:
    try:
        return Arrived(record, decode(record.value), None, was_there_first)
    except Undecodable as error:
        return Arrived(record, None, error, was_there_first)


def _told(rules: Iterable[Rule], hook: str) -> list[Callable[..., None]]:
    """The hook of those rules that have one."""
    return [getattr(rule, hook) for rule in rules if getattr(type(rule), hook) is not getattr(Rule, hook)]
