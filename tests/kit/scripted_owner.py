"""The owner's end of a line, as a script: it reads commands through the port and writes the replies that a test chose.

For tests of clients and workers: their end is the real one, and so is the wire.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from types import TracebackType
from typing import Self, TypeVar

from perdure._log.port import Delivery, Log, Producer
from perdure_schemas.codec import decode_command, encode_reply
from perdure_schemas.commands import ActivityHeartbeat, ActivityStarted, Command, CommandBody, ReplyAddress
from perdure_schemas.headers import CLIENT_ID
from perdure_schemas.replies import Reply, ReplyBody
from perdure_schemas.topics import commands_topic, namespace_topics, replies_topic

Script = Callable[[Command], Iterable[ReplyBody]]
Body = TypeVar("Body", bound=CommandBody)

DEADLINE_S = 10.0


class ScriptedOwner:
    """Answers each command of a namespace with what `script` returns for it; by default with nothing."""

    def __init__(self, log: Log, namespace: str = "default", *, partitions: int = 4) -> None:
        log.create_topics(namespace_topics(namespace, partitions), 5_000)
        self.script: Script = lambda _: ()
        self.commands: list[tuple[int, Command]] = []
        """(partition, command) of all that was read, copies included."""
        self._unasked: SimpleQueue[tuple[ReplyAddress, str, ReplyBody]] = SimpleQueue()
        self._log = log
        self._namespace = namespace
        self._sources = {(commands_topic(namespace), number): 0 for number in range(partitions)}
        self._stopped = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="scripted-owner")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopped.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def received(self, kind: type[Body]) -> list[Body]:
        """The bodies of one kind that were read, in order; of a request's copies, which slow machines make more of, the first."""
        told: set[str] = set()
        bodies: list[Body] = []
        for _, command in self.commands:
            name = command.request.request_id if command.request is not None else ""
            if isinstance(command.body, kind) and name not in told:
                bodies.append(command.body)
                told.update([name] if name else [])
        return bodies

    def requests(self, kind: type[Body]) -> list[str]:
        """The request ids of the commands of one kind, in order."""
        return [command.request.request_id for _, command in self.commands if isinstance(command.body, kind) and command.request]

    def tell(self, worker: ReplyAddress, nonce: str, body: ReplyBody) -> None:
        """Send something that nobody asked for."""
        self._unasked.put((worker, nonce, body))

    def _send(self, producer: Producer, address: ReplyAddress, request_id: str, body: ReplyBody) -> None:
        header = ((CLIENT_ID, address.client_id.encode()),)
        value = encode_reply(Reply(request_id, body))
        producer.append(replies_topic(self._namespace), address.partition, address.client_id.encode(), value, header)

    def _run(self) -> None:
        consumer = self._log.consumer()
        producer = self._log.producer(Delivery.PIPELINED)
        consumer.assign(self._sources)
        try:
            while not self._stopped.is_set():
                for record in consumer.poll(100, 20):
                    command = decode_command(record.value)
                    self.commands.append((record.partition, command))
                    for body in self.script(command):
                        self._send(producer, *_asker(command), body)
                while not self._unasked.empty():
                    self._send(producer, *self._unasked.get())
                producer.poll(0)
        except BaseException as failure:  # shown to the test at its end
            self._failure = failure
        finally:
            producer.close()
            consumer.close()


def _asker(command: Command) -> tuple[ReplyAddress, str]:
    """Who waits for an answer, and under which name."""
    if isinstance(command.body, ActivityStarted | ActivityHeartbeat):
        assert command.body.worker is not None
        return command.body.worker, command.body.nonce
    assert command.request is not None
    assert command.request.reply_to is not None
    return command.request.reply_to, command.request.request_id


async def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait until `condition` holds; fail the test if it does not in time."""
    deadline = asyncio.get_running_loop().time() + DEADLINE_S
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"still waiting: {what}"
        await asyncio.sleep(0.002)
