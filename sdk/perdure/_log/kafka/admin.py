"""Questions to the cluster and orders for it: topics, settings, offsets, deletion."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec, ResourceType  # type: ignore[attr-defined]

from perdure._log.errors import LogError, LogUnavailable, OffsetOutOfRange, TopicNotFound
from perdure._log.kafka.errors import OUT_OF_RANGE, STALE_LEADER, Trouble, log_error
from perdure._log.kafka.settings import Settings
from perdure._log.port import TopicDescription
from perdure._log.port import TopicPartition as Where
from perdure_schemas.topics import TopicSpec

_START = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_END = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_REQUEST_TIMEOUT_S = 10.0
_APPEARS_NAP_S = 0.02
_LOOK_S = 0.1
_REFUSED_S = 2.0
"""How long credentials may be refused before it is an error: a broker that starts knows them a little later."""


class KafkaAdmin:
    """The admin client of one log; any thread may use it. Answers arrive on a thread of the library."""

    def __init__(self, url: str, settings: Settings) -> None:
        self._url = url
        self._trouble = Trouble(url)
        self._configured = settings
        self._client = self._connect()

    def _connect(self) -> AdminClient:
        try:
            configured: Any = {**self._configured, "error_cb": self._trouble.note}
            return AdminClient(configured)
        except KafkaException as error:
            raise log_error(error, self._url) from error

    def forget_leaders(self) -> None:
        """Start over with a new client: an admin client keeps asking with the leader epoch that it has once learnt, although a broker
        that has been restarted refuses it each time (FENCED_LEADER_EPOCH)."""
        self._client = self._connect()

    def request_offsets(self, partitions: Sequence[Where], *, end: bool) -> OffsetsRequest:
        """Ask for end or start offsets, in one request per broker, without waiting."""
        self._client.poll(0)
        spec = _END if end else _START
        wanted = {TopicPartition(*where): spec for where in partitions}
        futures = (
            self._client.list_offsets(wanted, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=_REQUEST_TIMEOUT_S)
            if wanted
            else {}
        )
        return OffsetsRequest(self, self._client, {(asked.topic, asked.partition): future for asked, future in futures.items()})

    def offsets(self, partitions: Sequence[Where], timeout_ms: int, *, end: bool) -> dict[Where, int]:
        """The same, awaited. Asks again while a partition has no leader. Raises LogUnavailable, TopicNotFound."""
        deadline = time.monotonic() + timeout_ms / 1000
        while True:
            request = self.request_offsets(partitions, end=end)
            try:
                return request.wait(deadline - time.monotonic())
            except LogUnavailable:
                left_ms = round((deadline - time.monotonic()) * 1000)
                if left_ms <= _APPEARS_NAP_S * 1000:
                    raise
                self._check_known({topic for topic, _ in partitions}, left_ms)
                time.sleep(_APPEARS_NAP_S)

    def describe(self, names: Sequence[str], timeout_ms: int) -> dict[str, TopicDescription]:
        """Those topics among `names` that exist, with all of their settings."""
        if not names:
            return {}
        timeout_s = max(timeout_ms, 1) / 1000
        asked = self._client.describe_topics(TopicCollection(list(names)), request_timeout=timeout_s)
        found = {}
        for name, future in asked.items():
            try:
                found[name] = self.result(future, timeout_s, f"describing {name}")
            except TopicNotFound:
                continue
        settings = self._settings(list(found), timeout_s)
        return {
            name: TopicDescription(name, str(topic.topic_id), len(topic.partitions), settings[name])
            for name, topic in found.items()
            if name in settings
        }

    def create(self, specs: Sequence[TopicSpec], timeout_ms: int) -> None:
        """Make those that do not exist, and wait until the cluster knows them."""
        if not specs:
            return
        deadline = time.monotonic() + timeout_ms / 1000
        topics = [NewTopic(spec.name, spec.partitions, -1, config=spec.settings) for spec in specs]
        timeout_s = max(timeout_ms, 1) / 1000
        futures = self._client.create_topics(topics, operation_timeout=timeout_s, request_timeout=timeout_s)
        for name, future in futures.items():
            try:
                future.result(timeout_s + 1)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise self.error(error, f"creating {name}") from error
            except FutureTimeout:
                raise self.error(None, f"creating {name}") from None
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
        try:
            known = self._client.list_topics(timeout=max(timeout_ms, 1) / 1000)
        except KafkaException as error:
            raise self.error(error, "listing topics") from error
        return sorted(name for name in known.topics if name.startswith(prefix))

    def truncate_before(self, where: Where, offset: int, timeout_ms: int) -> None:
        """Delete the records below `offset`."""
        timeout_s = max(timeout_ms, 1) / 1000
        asked = TopicPartition(*where, offset)
        futures = self._client.delete_records([asked], request_timeout=timeout_s, operation_timeout=timeout_s)
        for future in futures.values():
            try:
                self.result(future, timeout_s, f"deleting the records of {where[0]}[{where[1]}] before {offset}")
            except LogUnavailable as error:
                cause = error.__cause__
                if isinstance(cause, KafkaException) and cause.args[0].code() in OUT_OF_RANGE:
                    raise OffsetOutOfRange(*where, f"cannot delete up to {offset}: the log ends before") from error
                raise

    def result(self, future: Future[Any], timeout_s: float, what: str) -> Any:
        """What a request came to. Raises LogError, for refused credentials after a moment: the library would try to the end."""
        started = time.monotonic()
        deadline = started + timeout_s + 1
        while True:
            try:
                return future.result(min(_LOOK_S, max(0.0, deadline - time.monotonic())))
            except KafkaException as error:
                raise self.error(error, what) from error
            except FutureTimeout:
                self._client.poll(0)
                now = time.monotonic()
                if now - started > _REFUSED_S and (refused := self._trouble.refusal_since(started)) is not None:
                    raise refused from None
                if now >= deadline:
                    raise self.error(None, what) from None

    def error(self, error: KafkaException | None, what: str) -> LogError:
        """Why a request failed: a refusal of the credentials, where there was one, explains every time-out."""
        self._client.poll(0)
        refused = self._trouble.refusal()
        if refused is not None:
            return refused
        if error is None:
            found: LogError = LogUnavailable(f"{self._url}: {what}: no answer in time")
        else:
            found = log_error(error, f"{self._url}: {what}")
        if isinstance(found, LogUnavailable) and (why := self._trouble.unconnected()):
            return LogUnavailable(f"{found}; the last attempt to connect: {why}")
        return found

    def _check_known(self, names: set[str], timeout_ms: int) -> None:
        """The library calls a topic that is not there one without a leader."""
        missing = names - self.describe(sorted(names), timeout_ms).keys()
        if missing:
            raise TopicNotFound(f"{self._url} has no topic {', '.join(sorted(missing))}")

    def _settings(self, names: Sequence[str], timeout_s: float) -> dict[str, dict[str, str]]:
        if not names:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        settings = {}
        for resource, future in self._client.describe_configs(resources, request_timeout=timeout_s).items():
            try:
                entries: Mapping[str, Any] = self.result(future, timeout_s, f"reading the settings of {resource.name}")
            except TopicNotFound:
                continue
            settings[resource.name] = {name: entry.value for name, entry in entries.items() if entry.value is not None}
        return settings


class OffsetsRequest:
    """Offsets on their way."""

    def __init__(self, admin: KafkaAdmin, client: AdminClient, futures: Mapping[Where, Future[Any]]) -> None:
        self._admin = admin
        self._client = client  # the futures of a client that was dropped are never done
        self._futures = futures
        self._deadline = time.monotonic() + 2 * _REQUEST_TIMEOUT_S

    def result(self) -> dict[Where, int] | None:
        """See EndOffsetsRequest."""
        if not all(future.done() for future in self._futures.values()) and time.monotonic() < self._deadline:
            return None
        return self.wait(0)

    def wait(self, timeout_s: float) -> dict[Where, int]:
        """The offsets, awaited. Raises LogUnavailable, TopicNotFound."""
        deadline = time.monotonic() + timeout_s
        found = {}
        for where, future in self._futures.items():
            try:
                found[where] = future.result(max(0.0, deadline - time.monotonic())).offset
            except KafkaException as error:
                if error.args[0].code() in STALE_LEADER:
                    self._admin.forget_leaders()
                raise self._admin.error(error, f"offsets of {where[0]}[{where[1]}]") from error
            except FutureTimeout:
                raise self._admin.error(None, f"offsets of {where[0]}[{where[1]}]") from None
        return found
