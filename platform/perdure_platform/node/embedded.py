"""An owner inside of any process: its own thread around a Node. `Worker(workflows=…)`, `perdure owner` and `perdure dev` all run this."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import tempfile
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from perdure._log.port import Log
from perdure._replay.host import WorkflowHost
from perdure_platform import __version__
from perdure_platform.config import DEFAULT_LIMITS, SESSION_TIMEOUT_MS, OwnerLimits
from perdure_platform.node.assignment import Surroundings
from perdure_platform.node.node import Health, Node
from perdure_platform.node.topics import Auditor, TaskTopics, describe_namespace, ensure_namespace, require_rights
from perdure_platform.node.waiting import Waiting
from perdure_platform.partition.claim import Identity
from perdure_platform.partition.isolation import ProcessIsolation
from perdure_platform.partition.lanes import Lanes
from perdure_platform.partition.tokens import read_tokens
from perdure_platform.store.rocks import RocksStores, check_writable
from perdure_schemas.errors import PerdureError
from perdure_schemas.topics import commands_topic, owners_group

logger = logging.getLogger("perdure.owner")


class EmbeddedOwner:
    """Owns partitions of `namespace` until stopped. Without `store_directory` the state lives in a temporary one: it is rebuilt anyway.

    `token_keys` is a file of keys, see `partition.tokens`.
    """

    def __init__(
        self,
        log: Log,
        namespace: str,
        host: WorkflowHost,
        *,
        store_directory: Path | None = None,
        identity: str = "",
        session_timeout_ms: int = SESSION_TIMEOUT_MS,
        token_keys: Path | None = None,
        limits: OwnerLimits = DEFAULT_LIMITS,
    ) -> None:
        self._log = log
        self._namespace = namespace
        self._host = host
        self._store_directory = store_directory
        self._identity = identity or f"{os.getpid()}@{socket.gethostname()}"
        self._session_timeout_ms = session_timeout_ms
        self._limits = limits
        self._tokens = read_tokens(namespace, token_keys)
        self._thread = threading.Thread(target=self._run, name=f"perdure-owner-{namespace}", daemon=True)
        self._stop = threading.Event()
        self._handover_ms = limits.handover_ms
        self._ready = threading.Event()
        self.failure: Exception | None = None
        self.health = Health(0, 0, {})

    def start(self) -> None:
        """Start the thread. Raises what the namespace's audit raises: NamespaceNotFound, TopicsUnsafe, LogError.

        Raises StoreUnavailable for a store directory that cannot be written.
        """
        if self._store_directory is not None:
            check_writable(self._store_directory)
        ensure_namespace(self._log, self._namespace)
        describe_namespace(self._log, self._namespace)
        require_rights(self._log, self._namespace)
        self._thread.start()

    def wait_ready(self, timeout_ms: int) -> bool:
        """Wait until membership has been asked for the first time; False if that took longer."""
        return self._ready.wait(timeout_ms / 1000)

    async def stop(self, timeout_ms: int = 0) -> None:
        """Hand the partitions over and stop; `timeout_ms` bounds how long what is in flight may take (0 is the default limit)."""
        self._handover_ms = timeout_ms or self._limits.handover_ms
        self._stop.set()
        await asyncio.to_thread(self._thread.join)

    @property
    def is_running(self) -> bool:
        """Whether the thread lives."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            if self._store_directory is not None:
                self._loop(self._store_directory)
            else:
                with tempfile.TemporaryDirectory(prefix="perdure-store-", ignore_cleanup_errors=True) as directory:
                    self._loop(Path(directory))
        except Exception as error:
            self.failure = error
            logger.error("owner of namespace %r failed: %s", self._namespace, error, exc_info=not isinstance(error, PerdureError))
        finally:
            self._ready.set()

    def _loop(self, directory: Path) -> None:
        log = self._log
        described = describe_namespace(log, self._namespace)
        auditor = Auditor(log, self._namespace)
        aside = ThreadPoolExecutor(1, thread_name_prefix=f"perdure-trim-{self._namespace}")
        around = Surroundings(
            log=log,
            lanes=Lanes(log),
            host=self._host,
            stores=RocksStores(directory, self._limits.store_memory_bytes),
            task_topics=TaskTopics(log, self._namespace),
            audit=auditor.ask,
            aside=aside.submit,
            identity=Identity(self._identity, socket.gethostname(), os.getpid(), __version__, uuid.uuid4().hex),
            isolation=ProcessIsolation(lambda: time.monotonic() * 1000),
            tokens=self._tokens,
            limits=self._limits,
            monotonic_ms=lambda: time.monotonic() * 1000,
            new_id=lambda: uuid.uuid4().hex,
            jitter=random.random,
        )
        membership = log.membership(owners_group(self._namespace), commands_topic(self._namespace), self._session_timeout_ms)
        node = Node(self._namespace, described, around, membership)
        waiting = Waiting(log, self._namespace, self._session_timeout_ms, aside.submit, around.monotonic_ms)
        auditor.start()
        try:
            while not self._stop.is_set():
                node.turn(wait_max_ms=200)
                waiting.turn(leads=bool(node.partitions))
                self._ready.set()
                self.failure = node.failure()
                self.health = node.health()
        finally:
            node.close(self._handover_ms)
            auditor.stop()
            aside.shutdown(wait=False, cancel_futures=True)
