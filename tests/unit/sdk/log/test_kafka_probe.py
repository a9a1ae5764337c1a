"""An address that does not answer like a Kafka broker is told apart: closed, silent, another protocol, TLS; and a broker is recognised."""

from __future__ import annotations

import contextlib
import http.server
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from perdure._log.errors import LogUnavailable
from perdure._log.kafka import KafkaLog, probe
from perdure._log.kafka.probe import Probe

LONG_MS = 3_000_000
"""Longer than a test may take."""
TALK = Callable[[socket.socket], None]


@contextlib.contextmanager
def listening(talk: TALK) -> Iterator[int]:
    """A port at which `talk` is called with every connection; it closes the connection where it returns."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                talk(connection)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def silent(connection: socket.socket) -> None:
    while connection.recv(1000):
        pass


def closes(connection: socket.socket) -> None:
    connection.recv(1000)


def greets(connection: socket.socket) -> None:
    connection.sendall(b"220 mail.example ESMTP\r\n")
    silent(connection)


def speaks_tls(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(b"\x15\x03\x03\x00\x02\x02\x46")


def speaks_kafka(connection: socket.socket) -> None:
    (size,) = struct.unpack(">i", connection.recv(4))
    _, _, correlation = struct.unpack(">hhi", connection.recv(size)[:8])
    connection.sendall(struct.pack(">iih", 6, correlation, 35))
    silent(connection)


@contextlib.contextmanager
def web_server() -> Iterator[int]:
    class Quiet(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


FOREIGN = [
    (lambda: listening(silent), "something listens at {where}, but it gives no answer to a Kafka request within 6 s"),
    (lambda: listening(closes), "something listens at {where}, but it closes the connection at a Kafka request"),
    (lambda: listening(greets), "something listens at {where}, but it does not speak Kafka: it answers b'220 mail"),
    (lambda: listening(speaks_tls), "something listens at {where}, but it speaks TLS: set security.protocol"),
    (web_server, "something listens at {where}, but it does not speak Kafka: it answers b'"),
]
NAMES = ["silent", "closes", "greets", "tls", "web"]


@pytest.mark.parametrize(("server", "says"), FOREIGN, ids=NAMES)
def test_what_is_no_broker_is_told(server: Callable[[], contextlib.AbstractContextManager[int]], says: str) -> None:
    with server() as port:
        asked = Probe(f"127.0.0.1:{port}", in_the_clear=True)
        deadline = time.monotonic() + 60
        while not asked.is_hopeless():
            assert time.monotonic() < deadline, asked.why()
            time.sleep(0.02)
        assert says.format(where=f"127.0.0.1:{port}") in asked.why()
        asked.stop()


@pytest.mark.parametrize("in_the_clear", [True, False])
def test_a_broker_is_one(in_the_clear: bool) -> None:
    with listening(speaks_kafka if in_the_clear else silent) as port:
        assert probe.probe("127.0.0.1", port, in_the_clear=in_the_clear) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid", "a..b"])
def test_nobody_there_is_no_verdict_because_a_broker_may_still_come(host: str) -> None:
    found = probe.probe(host, 1, in_the_clear=True)
    assert found is not None
    assert found.text.startswith(f"no connection to {host}:1")
    assert not found.is_foreign


def test_one_broker_among_the_addresses_is_hope() -> None:
    with listening(greets) as foreign, listening(speaks_kafka) as broker:
        asked = Probe(f"127.0.0.1:{foreign},127.0.0.1:{broker}", in_the_clear=True)
        deadline = time.monotonic() + 60
        while "ESMTP" not in asked.why():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert not asked.is_hopeless()
        asked.stop()


@pytest.mark.parametrize("ask", ["describe", "list"])
def test_a_log_at_such_a_port_says_so_and_does_not_wait_to_the_end(ask: str) -> None:
    with listening(greets) as port:
        log = KafkaLog(f"127.0.0.1:{port}")
        asking: dict[str, Callable[[], object]] = {
            "describe": lambda: log.describe_topics(["t"], LONG_MS),
            "list": lambda: log.list_topics("t", LONG_MS),
        }
        with pytest.raises(LogUnavailable, match="does not speak Kafka: it answers b'220 mail"):
            asking[ask]()
        log.close()


def test_a_slow_first_attempt_to_connect_has_its_reason() -> None:
    """The library says nothing of a connection that takes its time."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, contextlib.ExitStack() as waiting:
        for _ in range(3):  # nobody accepts them, and there is no room for more
            connection = waiting.enter_context(socket.socket())
            connection.setblocking(False)
            connection.connect_ex(server.getsockname())
        port = server.getsockname()[1]
        log = KafkaLog(f"127.0.0.1:{port}")
        with pytest.raises(LogUnavailable, match=f"no connection to 127.0.0.1:{port} within 3 s"):
            log.describe_topics(["t"], 8_000)
        log.close()
