"""Where partitions begin and end, asked of the brokers that lead them.

The library's admin client has a call for this (`list_offsets`). Perdure does not use it: while the
leader of a partition refuses connections, that call connects again without any pause and burns a core
(80,000 connects in 5 s with librdkafka 2.16, whatever its back-off settings say). A consumer's
`offsets_for_times` answers the same question, and connects with the back-off that is configured.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress

from confluent_kafka import Consumer as KafkaClient
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from perdure._log.errors import LogError, LogUnavailable, TopicNotFound
from perdure._log.kafka.chatter import logger
from perdure._log.kafka.errors import MISSING_FOR_S, Trouble, log_error
from perdure._log.kafka.settings import Settings
from perdure._log.port import TopicPartition as Where

END = -1
"""Timestamp by which Kafka's ListOffsets request asks for the end of a partition."""

START = -2
"""Timestamp by which Kafka's ListOffsets request asks for the start of a partition."""

_QUESTION_FIRST_S = 1.0
"""Timeout of a lane's first question, in seconds. It doubles after each one in vain: the library tells of refused
credentials only between two questions, and a busy broker must have time to answer."""

_QUESTION_MAX_S = 5.0
"""Longest timeout of one question to one broker, in seconds."""

_BACKOFF_FIRST_S = 0.1
"""Pause of a lane after its first question in vain, in seconds; it doubles with each further one."""

_BACKOFF_MAX_S = 1.0
"""Longest pause of a lane after a question in vain, in seconds."""

_IDLE_S = 30.0
"""Time after which the thread of a lane that has nothing to ask ends, in seconds."""

_CLIENT_LIVES_S = 10.0
"""Shortest life of a client that gets no answer from anybody, in seconds; it doubles with each client in vain."""

_CLIENT_LIVES_MAX_S = 300.0
"""Longest life of such a client, in seconds."""

_APPEARS_NAP_S = 0.02
"""Pause between two questions of a caller that waits, in seconds."""

_UNROUTED = -2
"""Lane of partitions whose leader is not known yet; Kafka itself uses -1 for a partition without a leader."""

_STALE = frozenset(
    {
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - so named
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
    }
)
"""Errors of a client that knows the cluster as it was: a leader epoch of before a restart, or no partition that was added."""


class KafkaOffsets:
    """The offsets of one log; any thread may ask.

    Each leader has a lane, with a thread and a client of its own, that asks everything that has come for
    this leader in one request. So a broker that does not answer holds up the partitions that it leads, and
    no others. (Questions of two threads to one client wait for each other in the library.)
    """

    def __init__(self, url: str, settings: Settings) -> None:
        self._url = url
        self._settings = settings
        self._changing = threading.Lock()
        self._leaders: dict[Where, int] = {}
        self._lanes: dict[int, _Lane] = {}

    def request(self, partitions: Sequence[Where], *, end: bool) -> OffsetsRequest:
        """Ask for end or start offsets without waiting."""
        parts = {where: _Part(where, END if end else START) for where in partitions}
        self._send(parts.values())
        return OffsetsRequest(self, self._url, parts)

    def offsets(self, partitions: Sequence[Where], timeout_ms: int, *, end: bool) -> dict[Where, int]:
        """Ask for end or start offsets, and again while a partition has no leader.

        Raises TopicNotFound for a topic that is missing for 2 s, LogUnauthorized, and LogUnavailable
        after `timeout_ms`.
        """
        began = time.monotonic()
        while True:
            left_s = began + timeout_ms / 1000 - time.monotonic()
            try:
                return self.request(partitions, end=end).wait(left_s)
            except (LogUnavailable, TopicNotFound) as error:
                is_missing = isinstance(error, TopicNotFound) and time.monotonic() - began > MISSING_FOR_S
                if is_missing or left_s <= _APPEARS_NAP_S:
                    raise
                time.sleep(_APPEARS_NAP_S)

    def _send(self, parts: Iterable[_Part]) -> None:
        """Give each part to the lane of its leader."""
        with self._changing:
            for part in parts:
                leader = self._leaders.get(part.where, _UNROUTED)
                lane = self._lanes.get(leader)
                if lane is None:
                    ask = self._route if leader == _UNROUTED else self._ask
                    lane = self._lanes[leader] = _Lane(leader, self._url, self._settings, ask)
                lane.put(part)

    def _ask(self, client: KafkaClient, parts: Sequence[_Part], timeout_s: float) -> Iterator[tuple[_Part, KafkaError]]:
        """Ask the leader of `parts`; gives those that came to nothing."""
        for timestamp in (END, START):
            asked = [part for part in parts if part.timestamp == timestamp]
            if not asked:
                continue
            places = [TopicPartition(*where, timestamp) for where in {part.where for part in asked}]
            try:
                answers = {(each.topic, each.partition): each for each in client.offsets_for_times(places, timeout=timeout_s)}
            except KafkaException as error:
                yield from self._unknown(asked, error.args[0])
                continue
            for part in asked:
                answer = answers[part.where]
                if answer.error is None and answer.offset >= 0:
                    part.found(answer.offset)
                else:  # neither an offset nor an error is what the library gives where a broker did not answer
                    yield from self._unknown([part], answer.error or KafkaError(KafkaError._TIMED_OUT))  # noqa: SLF001 - so named

    def _unknown(self, parts: Sequence[_Part], error: KafkaError) -> Iterator[tuple[_Part, KafkaError]]:
        """Ask who leads before these are asked for again."""
        with self._changing:
            for part in parts:
                self._leaders.pop(part.where, None)
        yield from ((part, error) for part in parts)

    def _route(self, client: KafkaClient, parts: Sequence[_Part], timeout_s: float) -> Iterator[tuple[_Part, KafkaError]]:
        """Ask the cluster who leads, and hand `parts` on to the lanes of their leaders; gives those without one."""
        try:
            topics = client.list_topics(timeout=timeout_s).topics
        except KafkaException as error:
            yield from ((part, error.args[0]) for part in parts)
            return
        led = []
        for part in parts:
            topic, partition = part.where
            known = topics.get(topic)
            if known is None or partition not in known.partitions:
                yield part, KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
            elif (leader := known.partitions[partition].leader) < 0:
                yield part, KafkaError(KafkaError.LEADER_NOT_AVAILABLE)
            else:
                with self._changing:
                    self._leaders[part.where] = leader
                led.append(part)
        self._send(led)

    def explained(self, where: Where, error: LogError) -> LogError:
        """The error of a question about `where` that nobody has answered, with what its lane knows."""
        with self._changing:
            lane = self._lanes.get(self._leaders.get(where, _UNROUTED))
        return error if lane is None else lane.explained(error)

    def close(self) -> None:
        """Ask nobody any more. Lanes and their clients end once they are idle."""
        with self._changing:
            for lane in self._lanes.values():
                lane.close()


class _Part:
    """One partition of one request, on its way."""

    def __init__(self, where: Where, timestamp: int) -> None:
        self.where = where
        self.timestamp = timestamp
        self.future: Future[int] = Future()

    def found(self, offset: int) -> None:
        """The answer, unless there is one already."""
        with suppress(InvalidStateError):
            self.future.set_result(offset)

    def failed(self, error: Exception) -> None:
        """The error in place of an answer, unless there is one already."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)


Ask = Callable[[KafkaClient, Sequence[_Part], float], Iterator[tuple[_Part, KafkaError]]]
"""Asks, with a client, for some parts, within a time in seconds. Gives the parts that came to nothing, with the reason."""


class _Lane:
    """Asks one leader, everything that has come meanwhile in one question."""

    def __init__(self, leader: int, url: str, settings: Settings, ask: Ask) -> None:
        self._leader = leader
        self._url = url
        self._settings = settings
        self._ask = ask
        self._trouble = Trouble(url)
        self._client: KafkaClient | None = None
        self._client_lives_s = _CLIENT_LIVES_S
        self._heard_at = 0.0
        self._timeout_s = _QUESTION_FIRST_S
        self._waiting: list[_Part] = []
        self._news = threading.Condition()
        self._is_running = self._is_closed = False

    def put(self, part: _Part) -> None:
        """Ask for this part with the next question."""
        with self._news:
            self._waiting.append(part)
            self._news.notify()
            if self._is_running:
                return
            thread = threading.Thread(target=self._run, name=f"perdure-kafka-offsets-{self._leader}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the machine has no thread to give
                waiting, self._waiting = self._waiting, []
                for one in waiting:
                    one.failed(LogUnavailable(f"{self._url}: offsets cannot be asked for: {error}"))
                return
            self._is_running = True

    def close(self) -> None:
        """End the thread, and with it the client, once nothing waits."""
        with self._news:
            self._is_closed = True
            self._news.notify()

    def _run(self) -> None:
        backoff_s = 0.0
        while parts := self._take():
            if self._try(parts):
                backoff_s = 0.0
            else:
                backoff_s = min(max(_BACKOFF_FIRST_S, 2 * backoff_s), _BACKOFF_MAX_S)
                time.sleep(backoff_s)

    def _take(self) -> list[_Part]:
        """What has come; nothing if the lane has been idle for long, or was closed, and its thread ends."""
        client = None
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._is_closed, _IDLE_S)
            parts, self._waiting = self._waiting, []
            if not parts:
                self._is_running = False
                client, self._client = self._client, None
        del client  # behind the lock: the library takes its time to let a client go, and whoever asks must not wait for that
        return parts

    def _try(self, parts: Sequence[_Part]) -> bool:
        """Ask once; whether anything came of it. Whatever goes wrong, somebody is told, and the thread goes on."""
        try:
            return self._turn(parts)
        except Exception as error:  # noqa: BLE001 - the thread must outlive whatever it meets
            logger.exception("%s: a defect over a question for offsets; going on with a new client", self._url)
            self._client = None
            for part in parts:
                topic, partition = part.where
                part.failed(LogUnavailable(f"{self._url}: offsets of {topic}[{partition}]: {error!r}"))
            return False

    def _turn(self, parts: Sequence[_Part]) -> bool:
        """Ask once; whether anything came of it."""
        try:
            client = self._connected()
        except LogError as error:
            for part in parts:
                part.failed(error)
            return False
        failed = list(self._ask(client, parts, self._timeout_s))
        client.poll(0)  # from within it, the library tells of refused credentials and connections
        if len(failed) < len(parts):
            self._heard_at = time.monotonic()
            self._trouble.answered()
            self._client_lives_s = _CLIENT_LIVES_S
            self._timeout_s = _QUESTION_FIRST_S
        else:
            self._timeout_s = min(2 * self._timeout_s, _QUESTION_MAX_S)
        if failed:
            for part, reason in failed:
                topic, partition = part.where
                found = log_error(reason, f"{self._url}: offsets of {topic}[{partition}]")
                # The cluster was asked who leads, and has the partition: this client is behind.
                part.failed(self.explained(LogUnavailable(str(found)) if reason.code() in _STALE else found))
            self._replace_if_useless(failed[0][1])
        return len(failed) < len(parts)

    def explained(self, error: LogError) -> LogError:
        """The error, with what the library said of connections, or of refused credentials in its place."""
        if (refused := self._trouble.refused_lately()) is not None:
            return refused
        why = self._trouble.unconnected() if isinstance(error, LogUnavailable) else ""
        return LogUnavailable(f"{error}; the last attempt to connect: {why}") if why else error

    def _connected(self) -> KafkaClient:
        if self._client is None:
            try:
                self._client = KafkaClient({**self._settings, "error_cb": self._trouble.note})
            except KafkaException as error:
                raise log_error(error, self._url) from error
            self._heard_at = time.monotonic()
        return self._client

    def _replace_if_useless(self, error: KafkaError) -> None:
        """Let a client go that is not answered: one that has lost all of its brokers may never look for them again
        (librdkafka issue 5301), and one may keep asking with the leader epoch of before a restart."""
        is_stale = error.code() in _STALE
        if is_stale or time.monotonic() - self._heard_at > self._client_lives_s:
            logger.info("%s: offsets are not answered (%s); going on with a new client", self._url, error.str())
            self._client = None
            if not is_stale:
                self._client_lives_s = min(2 * self._client_lives_s, _CLIENT_LIVES_MAX_S)


class OffsetsRequest:
    """Offsets on their way."""

    def __init__(self, offsets: KafkaOffsets, url: str, parts: dict[Where, _Part]) -> None:
        self._offsets = offsets
        self._url = url
        self._parts = parts
        self._deadline = time.monotonic() + 2 * _QUESTION_MAX_S

    def result(self) -> dict[Where, int] | None:
        """See EndOffsetsRequest."""
        if not all(part.future.done() for part in self._parts.values()) and time.monotonic() < self._deadline:
            return None
        try:
            return self.wait(0)
        except TopicNotFound as error:  # for a moment, where a broker starts; whoever reads the topic hears if that lasts
            raise LogUnavailable(str(error)) from error

    def wait(self, timeout_s: float) -> dict[Where, int]:
        """The offsets, awaited. Raises LogUnavailable, LogUnauthorized, TopicNotFound."""
        deadline = time.monotonic() + timeout_s
        found = {}
        for where, part in self._parts.items():
            try:
                failure = part.future.exception(max(0.0, deadline - time.monotonic()))
            except FutureTimeout:
                error = LogUnavailable(f"{self._url}: offsets of {where[0]}[{where[1]}]: no answer in time")
                raise self._offsets.explained(where, error) from None
            if failure is not None:
                raise failure
            found[where] = part.future.result()
        return found
