"""Reads: queries, describe, list, history. They add nothing to the log and wait for the read barrier (design.md 3.7).

Code is queried at the end of the asking turn, on what that turn decided, and the answer waits until all of it is confirmed. Rows are read
when the barrier opens, so they are confirmed as they stand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from perdure._replay.host import ActivationError, QueryError
from perdure._telemetry.quiet import QuietLogger
from perdure_platform.partition.apply import summary
from perdure_platform.partition.containment import ENDS_A_CLAIM, brief
from perdure_platform.partition.runs import Runs
from perdure_platform.partition.transition.decide import ActivationDeferred
from perdure_platform.partition.transition.draft import Answer
from perdure_platform.partition.transition.parking import parked_failure
from perdure_platform.partition.transition.sizes import failure_bytes, shortened
from perdure_platform.partition.transition.state import ActivityState, RunState
from perdure_platform.partition.transition.workflow import closed_reply
from perdure_platform.store.digest import Digest
from perdure_platform.store.port import Store
from perdure_platform.store.tables import Tables
from perdure_platform.store.visibility import FilterError, parse_filter
from perdure_schemas import commands, replies
from perdure_schemas.commands import Command, ReplyAddress
from perdure_schemas.errors import LimitExceeded
from perdure_schemas.events import CloseEvent, ResultWaiter
from perdure_schemas.limits import check_payloads
from perdure_schemas.options import QueryRejectCondition, WorkflowStatus
from perdure_schemas.payload import Payloads
from perdure_schemas.replies import RefusalCode, Refused, ReplyBody

_logger = QuietLogger("perdure.owner")

ROWS_PER_PAGE_MAX = 2_000
"""Rows that one list page looks at, matching or not, so that a rare match does not hold up the partition."""

CONDITIONS_PER_PAGE_MAX = 50 * ROWS_PER_PAGE_MAX
"""Conditions that it asks of them: a filter may have thousands. It looks at as many rows fewer."""

FILTER_LENGTH_MAX = 64 * 1024
"""Characters of a list filter."""

PAGE_BYTES = 1024 * 1024
"""A page ends before the record, or the run, that would pass this, unless that stands alone; a reply must fit into a record."""


DIGEST_ROWS = 2_000
DIGEST_BYTES = 4 * 1024 * 1024
"""What a turn takes of a digest: a store of a million rows must not hold up its partition, and not the others of the process."""

DIGEST_READERS_MAX = 100
"""Who waits for the next digest; the oldest is dropped and asks again."""


class Partition(Protocol):
    """What reads need of the owner."""

    def describe(self) -> replies.PartitionDescribed:
        """Positions and counters."""

    def wait_for_close(self, workflow_id: str, run_id: str, waiter: ResultWaiter) -> None:
        """Tell the client when the run closes."""

    def ask_again(self, command: Command) -> None:
        """Put a read back behind everything decided so far."""

    def answer(self, answer: Answer) -> None:
        """Send an answer."""


@dataclass(frozen=True, slots=True)
class _Digesting:
    """A digest that is being made, the partition at the moment whose rows it is of, and who is told."""

    digest: Digest
    described: replies.PartitionDescribed
    readers: list[tuple[ReplyAddress, Command]]


class Reader:
    """Answers one partition's reads."""

    def __init__(self, partition: Partition, runs: Runs, tables: Tables, store: Store) -> None:
        self._partition = partition
        self._runs = runs
        self._tables = tables
        self._store = store
        self._digesting: _Digesting | None = None
        self._digest_readers: list[tuple[ReplyAddress, Command]] = []
        """Who has asked since that was begun."""

    def prepare(self, command: Command) -> Callable[[], None] | None:
        """Called at the end of the asking turn; what it returns is called when the barrier opens. None: nobody waits for an answer."""
        request = command.request
        if request is None or request.reply_to is None:
            return None
        address = request.reply_to
        if not isinstance(command.body, commands.QueryWorkflow):
            return lambda: self._contained(address, command, lambda: self._read(address, command))
        try:
            body = self._query(command.workflow_id, command.body)
        except ENDS_A_CLAIM:
            raise
        except Exception as error:  # noqa: BLE001 - as below
            body = _defect(command, error)
        return lambda: self._contained(address, command, lambda: self._send(address, command, body))

    def _contained(self, address: ReplyAddress, command: Command, read: Callable[[], None]) -> None:
        """A read that fails, whatever it fails of, is refused to who asked, and is nobody else's trouble."""
        try:
            read()
        except ENDS_A_CLAIM:
            raise
        except Exception as error:  # noqa: BLE001 - it is the last line of defence
            self._send(address, command, _defect(command, error))

    def _send(self, address: ReplyAddress, command: Command, body: ReplyBody) -> None:
        assert command.request is not None
        self._partition.answer(Answer(address, command.request.request_id, body))

    def _read(self, address: ReplyAddress, command: Command) -> None:
        body = command.body
        match body:
            case commands.AwaitWorkflow():
                self._await(address, command, body)
            case commands.DescribeWorkflow():
                self._send(address, command, self._describe(command.workflow_id, body.run_id))
            case commands.FetchHistory():
                self._send(address, command, self._history(command.workflow_id, body))
            case commands.ListWorkflows():
                self._send(address, command, self._list(body))
            case commands.DescribePartition():
                if body.with_digest:
                    self._digest_readers.append((address, command))
                    del self._digest_readers[:-DIGEST_READERS_MAX]
                else:
                    self._send(address, command, self._partition.describe())
            case _:
                raise TypeError(f"{type(body).__name__} is not a read")

    # -- digests

    @property
    def is_busy(self) -> bool:
        """Whether `turn` has something to do."""
        return self._digesting is not None or bool(self._digest_readers)

    def turn(self) -> None:
        """Go on with a digest. It is for everybody who had asked when it was begun."""
        if not self.is_busy:
            return
        if self._digesting is None:
            described = self._partition.describe()
            described = replace(described, digest_offset=described.history_offset - 1)
            self._digesting, self._digest_readers = _Digesting(Digest(self._store), described, self._digest_readers), []
        made = self._digesting
        if not made.digest.go_on(DIGEST_ROWS, DIGEST_BYTES):
            self._digesting = None
            for address, command in made.readers:
                self._send(address, command, replace(made.described, digest=made.digest.text))

    # -- code

    def _query(self, workflow_id: str, query: commands.QueryWorkflow) -> ReplyBody:
        run = self._runs.find(workflow_id, query.run_id)
        if run is None:
            return _no_run(workflow_id, query.run_id)
        if _is_rejected(run, query.reject_condition):
            return Refused(
                RefusalCode.QUERY_REJECTED,
                f"workflow {workflow_id!r} is {run.status.name.lower()}",
                workflow_id,
                run.run_id,
                run.started.workflow_type,
                int(run.status),
            )
        if (parked := parked_failure(run)) is not None:
            return Refused(RefusalCode.NOT_READY, f"workflow {workflow_id!r} is {parked.message}", workflow_id, run.run_id, failure=parked)
        if run.is_open and run.activations == 0:
            why = f": {run.activation_failure.failure.message}" if run.activation_failure is not None else " yet"
            return Refused(RefusalCode.NOT_READY, f"the code of workflow {workflow_id!r} has not run{why}", workflow_id, run.run_id)
        try:
            result = self._ask_code(run, query)
            check_payloads(f"result of query {query.query_type!r} to workflow {workflow_id!r}", result)
            return replies.QueryAnswered(result)
        except LimitExceeded as error:
            return Refused(RefusalCode.LIMIT_EXCEEDED, str(error), workflow_id, run.run_id)
        except QueryError as error:
            failure = shortened(error.failure)
            return Refused(RefusalCode.QUERY_FAILED, failure.message, workflow_id, run.run_id, failure=failure)
        except ActivationError as error:
            return Refused(
                RefusalCode.NOT_READY,
                f"the code of workflow {workflow_id!r} is blocked: {shortened(error.failure).message}",
                workflow_id,
                run.run_id,
                failure=shortened(error.failure),
            )
        except ActivationDeferred:
            return Refused(RefusalCode.NOT_READY, f"workflow {workflow_id!r} is being recorded; ask again", workflow_id, run.run_id)

    def _ask_code(self, run: RunState, query: commands.QueryWorkflow) -> Payloads:
        entry = self._runs.entry(run.workflow_id)
        if entry.state is run and run.is_open:
            return self._runs.instance(entry, run).query(query.query_type, query.args, query.header)
        if entry.in_flight:
            raise ActivationDeferred
        instance = self._runs.rebuild(run)
        try:
            return instance.query(query.query_type, query.args, query.header)
        finally:
            instance.close()

    # -- rows

    def _await(self, address: ReplyAddress, command: Command, body: commands.AwaitWorkflow) -> None:
        assert command.request is not None
        run = self._runs.find(command.workflow_id, body.run_id)
        if run is None:
            self._send(address, command, _no_run(command.workflow_id, body.run_id))
        elif run.is_open:
            waiter = ResultWaiter(address, command.request.request_id)
            self._partition.wait_for_close(command.workflow_id, run.run_id, waiter)
            if run.is_blocked:
                self._send(address, command, blocked_reply(run))
        elif self._runs.entry(command.workflow_id).in_flight:
            self._partition.ask_again(command)
        else:
            self._send(address, command, closed_reply(run))

    def _confirmed(self, workflow_id: str, run_id: str) -> RunState | None:
        """A run as the store has it: memory may be ahead."""
        if not self._runs.entry(workflow_id).in_flight:
            return self._runs.find(workflow_id, run_id)
        stored = run_id or self._tables.current_run(workflow_id)
        return self._runs.load(workflow_id, stored) if stored else None

    def _describe(self, workflow_id: str, run_id: str) -> ReplyBody:
        run = self._confirmed(workflow_id, run_id)
        if run is None:
            return _no_run(workflow_id, run_id)
        failing, parked = run.activation_failure, parked_failure(run)
        return replies.WorkflowDescribed(
            summary(run),
            _pending_activities(run),
            len(run.timers),
            parked or (failing.failure if failing is not None else None),
            failing.attempt if failing is not None else 0,
            failing.retry_at_ms if failing is not None and parked is None else 0,
            run.cancel_requested,
            min((timer.due_ms for timer in run.timers.values()), default=0),
        )

    def _history(self, workflow_id: str, body: commands.FetchHistory) -> ReplyBody:
        run_id = body.run_id or self._tables.current_run(workflow_id)
        if run_id is None:
            return _no_run(workflow_id, "")
        page: list[replies.HistoryEvent] = []
        size_bytes = 0
        closed = False
        found = False
        for stored in self._tables.transitions(workflow_id, run_id):
            transition = stored.transition
            found = True
            if page and size_bytes + stored.size_bytes > PAGE_BYTES:
                return replies.HistoryPage(run_id, tuple(page), page[-1].event_id + 1, closed)
            closed = closed or any(isinstance(event, CloseEvent) for event in (*transition.inbound, *transition.produced))
            for event_id, event in enumerate((*transition.inbound, *transition.produced), transition.first_event_id):
                if event_id >= body.first_event_id and len(page) < body.events_max:
                    page.append(replies.HistoryEvent(event_id, stored.time_ms, event))
            if page and len(page) >= body.events_max:
                return replies.HistoryPage(run_id, tuple(page), page[-1].event_id + 1, closed)
            size_bytes += stored.size_bytes if page else 0
        if not found:
            return _no_run(workflow_id, run_id)
        return replies.HistoryPage(run_id, tuple(page), 0, closed)

    def _list(self, body: commands.ListWorkflows) -> ReplyBody:
        if len(body.query) > FILTER_LENGTH_MAX:
            return Refused(RefusalCode.INVALID, f"the filter has {len(body.query)} characters; at most {FILTER_LENGTH_MAX} are allowed")
        try:
            wanted = parse_filter(body.query)
        except FilterError as error:
            return Refused(RefusalCode.INVALID, str(error))
        rows_max = min(ROWS_PER_PAGE_MAX, max(1, CONDITIONS_PER_PAGE_MAX // wanted.conditions))
        found: list[replies.RunSummary] = []
        size_bytes = 0
        for count, (key, row) in enumerate(self._tables.summaries(body.page_token)):
            if len(found) >= body.page_size or count >= rows_max:
                return replies.WorkflowsListed(tuple(found), key)
            if wanted.matches(row):
                size_bytes += _size_bytes(row)
                if found and size_bytes > PAGE_BYTES:
                    return replies.WorkflowsListed(tuple(found), key)
                found.append(row)
        return replies.WorkflowsListed(tuple(found))


def blocked_reply(run: RunState) -> replies.WorkflowBlocked:
    """What clients that await a blocked run are told."""
    failing, parked = run.activation_failure, parked_failure(run)
    failure = parked or (failing.failure if failing is not None else None)
    assert failure is not None, f"workflow {run.workflow_id!r} is not blocked"
    return replies.WorkflowBlocked(
        run.run_id,
        failure,
        failing.attempt if failing is not None else 0,
        failing.retry_at_ms if failing is not None and parked is None else 0,
    )


def is_newly_blocked(before: RunState | None, after: RunState) -> bool:
    """Whether a run's code is blocked by something else than before; one more attempt that fails alike is nothing new."""
    if not after.is_blocked:
        return False
    return before is None or not before.is_blocked or blocked_reply(before).failure != blocked_reply(after).failure


def _size_bytes(row: replies.RunSummary) -> int:
    """Roughly how large a row is on the wire."""
    named = (*row.memo.items(), *row.search_attributes.items())
    return 250 + len(row.workflow_id + row.workflow_type + row.task_queue) + sum(len(name) + value.size_bytes for name, value in named)


def _defect(command: Command, error: Exception) -> Refused:
    what = type(command.body).__name__
    _logger.critical("a defect over %s of workflow %r; the others go on", what, command.workflow_id, exc_info=error)
    return Refused(RefusalCode.INVALID, f"{what} has failed, by a defect in the owner: {brief(error)}", command.workflow_id)


def _no_run(workflow_id: str, run_id: str) -> Refused:
    which = f"run {run_id} of workflow {workflow_id!r}" if run_id else f"workflow {workflow_id!r}"
    return Refused(RefusalCode.NOT_FOUND, f"{which} does not exist in this namespace", workflow_id, run_id)


def _is_rejected(run: RunState, condition: QueryRejectCondition) -> bool:
    if run.is_open or condition is QueryRejectCondition.NONE:
        return False
    return condition is QueryRejectCondition.NOT_OPEN or run.status is not WorkflowStatus.COMPLETED


def _pending_activities(run: RunState) -> tuple[replies.PendingActivity, ...]:
    """Every open activity; details and failures only of the first ones, where all of them would not fit into a reply."""
    pending: list[replies.PendingActivity] = []
    size_bytes = 0
    for activity in run.activities.values():
        size_bytes += sum(payload.size_bytes for payload in activity.heartbeat_details) + failure_bytes(activity.last_failure)
        if pending and size_bytes > PAGE_BYTES:
            activity = replace(activity, heartbeat_details=(), last_failure=None)
        pending.append(_pending_activity(run, activity))
    return tuple(pending)


def _pending_activity(run: RunState, activity: ActivityState) -> replies.PendingActivity:
    start = activity.start
    if activity.cancel_requested:
        state = "cancel_requested"
    elif start is not None:
        state = "started"
    else:
        state = "backing_off" if activity.waits_for_retry else "scheduled"
    return replies.PendingActivity(
        activity.event.activity_id,
        activity.event.activity_type,
        activity.scheduled_event_id,
        state,
        activity.attempt,
        activity.scheduled_time_ms,
        start.time_ms if start is not None else 0,
        activity.heartbeat_time_ms,
        activity.retry_at_ms,
        activity.heartbeat_details,
        activity.last_failure,
        start.identity if start is not None else "",
        activity.event.task_queue if activity.event.task_queue != run.started.task_queue else "",
    )
