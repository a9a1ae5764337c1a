"""Questions to the cluster and orders for it: topics, settings, deletion."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType  # type: ignore[attr-defined]

from perdure._log.errors import LogError, LogUnavailable, OffsetOutOfRange, TopicNotFound
from perdure._log.kafka.chatter import logger
from perdure._log.kafka.errors import OUT_OF_RANGE, Trouble, log_error
from perdure._log.kafka.probe import Probe
from perdure._log.kafka.settings import Settings
from perdure._log.port import TopicDescription
from perdure._log.port import TopicPartition as Where
from perdure_schemas.topics import TopicSpec

_CLIENT_LIVES_S = 5.0
"""How long a client is kept at least, whatever fails."""
_APPEARS_NAP_S = 0.02
_LOOK_S = 0.1
_PROBE_S = 1.5
"""Time after which a first request without an answer makes this process look what is at the addresses, in seconds."""
_LIST_S = 1.0
"""Time of one try to list topics, in seconds: the library does not look up while it waits."""
_REFUSED_S = 2.0
"""How long credentials may be refused before it is an error: a broker that starts knows them a little later."""


class KafkaAdmin:
    """The admin client of one log; any thread may use it. Answers arrive on a thread of the library.

    It must not ask what a group's coordinator answers (describe a group, its offsets): where the coordinator cannot be had before the
    request times out, the library ends the process (librdkafka issues 3663 and 4605; reproduced with 2.16.1).
    """

    def __init__(self, url: str, settings: Settings) -> None:
        self._url = url
        self.has_answers = False
        """Whether a broker has answered anything so far: if so, the address is right."""
        self._trouble = Trouble(url)
        self._configured = settings
        self._client = self._connect()
        self._connected_at = time.monotonic()
        self._changing = threading.Lock()

    def _connect(self) -> AdminClient:
        try:
            configured: Any = {**self._configured, "error_cb": self._trouble.note}
            return AdminClient(configured)
        except KafkaException as error:
            raise log_error(error, self._url) from error

    def start_over(self, failed: AdminClient, error: LogError) -> None:
        """Go on with a new client after `failed`, but not again and again while nobody can be reached.

        An admin client keeps asking with the leader epoch that it has once learnt, although a broker that has been restarted refuses it
        each time (FENCED_LEADER_EPOCH); and one that has lost all of its brokers may never look for them again.
        """
        now = time.monotonic()
        with self._changing:
            if failed is self._client and now - self._connected_at > _CLIENT_LIVES_S:
                logger.info("%s; going on with a new client", error)
                self._client = self._connect()
                self._connected_at = now

    def describe(self, names: Sequence[str], timeout_ms: int) -> dict[str, TopicDescription]:
        """Those topics among `names` that exist, with all of their settings."""
        if not names:
            return {}
        timeout_s = max(timeout_ms, 1) / 1000
        client = self._client
        asked = client.describe_topics(TopicCollection(list(names)), include_authorized_operations=True, request_timeout=timeout_s)
        found = {}
        for name, future in asked.items():
            try:
                found[name] = self.result(client, future, timeout_s, f"describing {name}")
            except TopicNotFound:
                continue
        settings = self._settings(list(found), timeout_s)
        return {
            name: TopicDescription(name, str(topic.topic_id), len(topic.partitions), settings[name], _allowed(topic), _replicas(topic))
            for name, topic in found.items()
            if name in settings
        }

    def nodes(self, timeout_ms: int) -> int:
        """How many brokers are there now."""
        timeout_s = max(timeout_ms, 1) / 1000
        client = self._client
        described = self.result(client, client.describe_cluster(request_timeout=timeout_s), timeout_s, "describing the cluster")
        return len(described.nodes)

    def create(self, specs: Sequence[TopicSpec], timeout_ms: int) -> None:
        """Make those that do not exist, and wait until the cluster knows them."""
        if not specs:
            return
        deadline = time.monotonic() + timeout_ms / 1000
        topics = [NewTopic(spec.name, spec.partitions, spec.replicas or -1, config=spec.settings) for spec in specs]
        timeout_s = max(timeout_ms, 1) / 1000
        client = self._client
        futures = client.create_topics(topics, operation_timeout=timeout_s, request_timeout=timeout_s)
        for name, future in futures.items():
            try:
                failure = _failure(future, timeout_s + 1)
            except FutureTimeout:
                raise self.error(client, None, f"creating {name}") from None
            if failure is not None and failure.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise self.error(client, failure, f"creating {name}") from failure
        missing = {spec.name for spec in specs}
        while True:
            missing -= self.describe(sorted(missing), max(1, round((deadline - time.monotonic()) * 1000))).keys()
            if not missing:
                return
            if time.monotonic() > deadline:
                raise LogUnavailable(f"{self._url}: the new topics {', '.join(sorted(missing))} have not appeared in {timeout_ms} ms")
            time.sleep(_APPEARS_NAP_S)

    def names(self, prefix: str, timeout_ms: int) -> list[str]:
        """Names of the topics that begin with `prefix`, sorted."""
        client = self._client
        what = "listing topics"
        deadline = time.monotonic() + max(timeout_ms, 1) / 1000
        with self._waiting(client, what) as waiting:
            while True:
                left_s = deadline - time.monotonic()
                try:
                    known = client.list_topics(timeout=max(0.001, min(left_s, _LIST_S)))
                    break
                except KafkaException as error:
                    if left_s <= _LIST_S or error.args[0].code() not in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT):  # noqa: SLF001
                        raise self.error(client, error, what, waiting) from error
                    waiting.look()
        self.answered()
        return sorted(name for name in known.topics if name.startswith(prefix))

    def truncate_before(self, where: Where, offset: int, timeout_ms: int) -> None:
        """Delete the records below `offset`."""
        timeout_s = max(timeout_ms, 1) / 1000
        asked = TopicPartition(*where, offset)
        client = self._client
        futures = client.delete_records([asked], request_timeout=timeout_s, operation_timeout=timeout_s)
        for future in futures.values():
            try:
                self.result(client, future, timeout_s, f"deleting the records of {where[0]}[{where[1]}] before {offset}")
            except LogUnavailable as error:
                cause = error.__cause__
                if isinstance(cause, KafkaException) and cause.args[0].code() in OUT_OF_RANGE:
                    raise OffsetOutOfRange(*where, f"cannot delete up to {offset}: the log ends before") from error
                raise

    def result(self, client: AdminClient, future: Future[Any], timeout_s: float, what: str) -> Any:
        """What a request came to. Raises LogError, for refused credentials after a moment: the library would try to the end."""
        deadline = time.monotonic() + timeout_s + 1
        with self._waiting(client, what) as waiting:
            while True:
                try:
                    failure = _failure(future, min(_LOOK_S, max(0.0, deadline - time.monotonic())))
                    break
                except FutureTimeout:
                    waiting.look()
                    if time.monotonic() >= deadline:
                        raise self.error(client, None, what, waiting) from None
            if failure is not None:
                raise self.error(client, failure, what, waiting) from failure
        self.answered()
        return future.result()

    def answered(self) -> None:
        """A broker has answered."""
        self.has_answers = True
        self._trouble.answered()

    def refusal_since(self, moment: float) -> LogError | None:
        """The error about credentials or permissions, if it was told after `moment` (of time.monotonic)."""
        return self._trouble.refusal_since(moment)

    @contextmanager
    def _waiting(self, client: AdminClient, what: str) -> Iterator[_Waiting]:
        waiting = _Waiting(self, client, what, self._configured)
        try:
            yield waiting
        finally:
            waiting.stop()

    def error(self, client: AdminClient, error: KafkaException | None, what: str, waiting: _Waiting | None = None) -> LogError:
        """Why a request of `client` failed: a refusal of the credentials, where there was one, explains every time-out.

        Without one, the library's last attempt to connect does, unless `waiting` has found that no broker is there.
        """
        client.poll(0)
        refused = self._trouble.refusal()
        if refused is not None:
            return refused
        if error is None:
            found: LogError = LogUnavailable(f"{self._url}: {what}: no answer in time")
        else:
            found = log_error(error, f"{self._url}: {what}")
        if isinstance(found, LogUnavailable):
            if error is not None:
                self.start_over(client, found)
            why, last = waiting.why() if waiting is not None else "", self._trouble.unconnected()
            if last and not (waiting is not None and waiting.is_hopeless()):
                why = f"the last attempt to connect: {last}"
            if why:
                return LogUnavailable(f"{found}; {why}")
        return found

    def _settings(self, names: Sequence[str], timeout_s: float) -> dict[str, dict[str, str]]:
        if not names:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        settings = {}
        client = self._client
        for resource, future in client.describe_configs(resources, request_timeout=timeout_s).items():
            try:
                entries: Mapping[str, Any] = self.result(client, future, timeout_s, f"reading the settings of {resource.name}")
            except TopicNotFound:
                continue
            settings[resource.name] = {name: entry.value for name, entry in entries.items() if entry.value is not None}
        return settings


def _failure(future: Future[Any], timeout_s: float) -> KafkaException | None:
    """What the request failed with, awaited. Raises FutureTimeout.

    Asked for rather than raised: an exception that a future keeps, once raised, holds the frames through which it went, and they hold the
    future and the client. Such a circle, with the threads of a client that was given up, lies in an owner for hours.
    """
    failure = future.exception(timeout_s)
    if failure is None or isinstance(failure, KafkaException):
        return failure
    raise failure


class _Waiting:
    """A request that is not answered yet. Where no broker has ever answered, it looks after a moment what is at their addresses."""

    def __init__(self, admin: KafkaAdmin, client: AdminClient, what: str, settings: Settings) -> None:
        self._admin = admin
        self._client = client
        self._what = what
        self._settings = settings
        self._started = time.monotonic()
        self._probe: Probe | None = None

    def look(self) -> None:
        """Raises LogUnauthorized where credentials are refused, and LogUnavailable where nobody there is a Kafka broker."""
        self._client.poll(0)
        waited_s = time.monotonic() - self._started
        if waited_s > _REFUSED_S and (refused := self._admin.refusal_since(self._started)) is not None:
            raise refused from None
        if self._probe is None and waited_s > _PROBE_S and not self._admin.has_answers:
            in_the_clear = "SSL" not in str(self._settings.get("security.protocol", "")).upper().replace("SASL", "")
            self._probe = Probe(self._settings["bootstrap.servers"], in_the_clear=in_the_clear)
        if self.is_hopeless():
            raise self._admin.error(self._client, None, self._what, self) from None

    def is_hopeless(self) -> bool:
        """Whether there is no Kafka broker."""
        return self._probe is not None and self._probe.is_hopeless()

    def why(self) -> str:
        """What was found so far."""
        return self._probe.why() if self._probe is not None else ""

    def stop(self) -> None:
        """The request is answered, or given up."""
        if self._probe is not None:
            self._probe.stop()


def _replicas(topic: Any) -> int:
    """The fewest copies that a partition of a described topic has."""
    return min((len(partition.replicas) for partition in topic.partitions), default=0)


def _allowed(topic: Any) -> frozenset[str] | None:
    """What the user may do to a described topic; None where the broker does not say."""
    operations = topic.authorized_operations
    return frozenset(operation.name for operation in operations) if operations else None
