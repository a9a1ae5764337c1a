"""Finds out why a cluster does not answer: asks each of its addresses one small Kafka question over a connection of its own.

The Kafka library tries for ever and tells only some of its troubles. To a port where a web server listens, or nothing that answers, it says
no more than that the time is over.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from dataclasses import dataclass

_CONNECT_TIMEOUT_S = 3.0
_ANSWER_TIMEOUT_S = 6.0
"""Time that a broker has for its answer. One that is alive answers within milliseconds, a busy one within seconds."""
_URGE_S = 2.0
"""Time without an answer after which the end of a line is sent. Servers whose protocol is text wait for one, and answer then."""
_PAUSE_S = 1.0
_ANSWER_BYTES_MAX = 1 << 20
_CORRELATION = 0x50455244
_QUESTION = struct.pack(">hhih", 18, 0, _CORRELATION, 7) + b"perdure"
"""ApiVersions in its first version: every broker answers it, whoever asks."""
_TLS_ALERT = b"\x15\x03"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of one address. `is_foreign`: whatever listens there is no Kafka broker."""

    text: str
    is_foreign: bool = False
    is_sure: bool = False
    """Whether one such finding is enough: a broker that stops closes connections too."""


def probe(host: str, port: int, *, in_the_clear: bool) -> Finding | None:
    """Ask one address; None if a broker answers there, or if all that can be told is that somebody listens."""
    where = f"{host}:{port}"
    try:
        connection = socket.create_connection((host, port), _CONNECT_TIMEOUT_S)
    except TimeoutError:
        return Finding(f"no connection to {where} within {_CONNECT_TIMEOUT_S:g} s")
    except (OSError, UnicodeError) as error:  # a name that no resolver takes is a UnicodeError
        return Finding(f"no connection to {where}: {getattr(error, 'strerror', None) or error}")
    with connection:
        if not in_the_clear:
            return None
        try:
            return _judged(where, _asked(connection))
        except TimeoutError:
            text = f"something listens at {where}, but it gives no answer to a Kafka request within {_ANSWER_TIMEOUT_S:g} s"
            return Finding(text, True, True)
        except OSError:  # it was closed with our question unread
            return _judged(where, b"")


def _asked(connection: socket.socket) -> bytes:
    """The first bytes of the answer; none where the connection is closed instead."""
    connection.sendall(struct.pack(">i", len(_QUESTION)) + _QUESTION)
    connection.settimeout(_URGE_S)
    try:
        answer = connection.recv(64)
    except TimeoutError:
        connection.settimeout(_ANSWER_TIMEOUT_S - _URGE_S)
        connection.sendall(b"\r\n\r\n")
        answer = connection.recv(64)
    while 0 < len(answer) < 8 and (more := connection.recv(64)):
        answer += more
    return answer


def _judged(where: str, answer: bytes) -> Finding | None:
    if not answer:
        return Finding(f"something listens at {where}, but it closes the connection at a Kafka request", True)
    if answer.startswith(_TLS_ALERT):
        text = f"something listens at {where}, but it speaks TLS: set security.protocol (see deploy/SECURITY.md)"
        return Finding(text, True, True)
    if len(answer) >= 8:
        size, correlation = struct.unpack_from(">ii", answer)
        if correlation == _CORRELATION and 4 < size <= _ANSWER_BYTES_MAX:
            return None
    return Finding(f"something listens at {where}, but it does not speak Kafka: it answers {answer[:24]!r}", True, True)


class Probe:
    """Asks every address of a cluster, each on a thread of its own, until `stop` or until it knows enough."""

    def __init__(self, servers: str, *, in_the_clear: bool) -> None:
        self._findings: dict[str, list[Finding | None]] = {server.strip(): [] for server in servers.split(",") if server.strip()}
        self._stopped = threading.Event()
        for server in self._findings:
            threading.Thread(target=self._ask, args=(server, in_the_clear), name="perdure-kafka-probe", daemon=True).start()

    def _ask(self, server: str, in_the_clear: bool) -> None:
        host, _, port = server.rpartition(":")
        until = time.monotonic() + _ANSWER_TIMEOUT_S
        while not self._stopped.is_set():
            finding = probe(host.strip("[]"), int(port), in_the_clear=in_the_clear)
            self._findings[server].append(finding)
            if finding is None or finding.is_sure or time.monotonic() > until:
                return
            self._stopped.wait(_PAUSE_S)

    def stop(self) -> None:
        """Ask no more."""
        self._stopped.set()

    def why(self) -> str:
        """What was found, one address after the other; empty while nothing is known, or where brokers answer."""
        return "; ".join(dict.fromkeys(found[-1].text for found in self._findings.values() if found and found[-1] is not None))

    def is_hopeless(self) -> bool:
        """Whether no address is one of a Kafka broker."""
        return bool(self._findings) and all(map(_is_foreign, self._findings.values()))


def _is_foreign(found: list[Finding | None]) -> bool:
    foreign = [one for one in found[-2:] if one is not None and one.is_foreign]
    return len(foreign) == 2 or (bool(found) and found[-1] in foreign and any(one.is_sure for one in foreign))
