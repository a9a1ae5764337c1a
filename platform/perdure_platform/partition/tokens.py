"""Tokens: by them an owner tells what owners of its namespace wrote from what somebody made up (faults.md 6.3).

Clients and workers append to the same commands topic, so whoever may do one can write down the other. With keys, which only owners
have, a task carries a token in a header, which its worker gives back with every report; and a command of another partition carries
one, because a made-up origin could raise that partition's mark and so silence it. A token names one attempt of one activity, or is
over all bytes of one command: it is of no use elsewhere. Without keys nothing is signed, and nothing is asked for.
"""

from __future__ import annotations

import hmac
import logging
from dataclasses import dataclass
from pathlib import Path

from perdure._log.port import Headers, Record
from perdure_schemas.commands import (
    ActivityHeartbeat,
    ActivityReference,
    ActivityStarted,
    CancelActivity,
    Command,
    CompleteActivity,
    FailActivity,
)
from perdure_schemas.errors import PerdureError
from perdure_schemas.headers import ORIGIN_TOKEN, TASK_TOKEN
from perdure_schemas.tasks import ActivityTask

_logger = logging.getLogger("perdure.owner")

KEY_LENGTH_MIN = 32
"""Characters of a key: 128 bits, written as hexadecimal digits."""

ACCEPT_UNSIGNED = "accept-unsigned"
"""The line of a key file that lets through what carries no token, while a namespace goes over to keys."""

_REPORTS = (ActivityStarted, ActivityHeartbeat, CompleteActivity, FailActivity, CancelActivity)


class TokenKeysUnusable(PerdureError):
    """A file of token keys cannot be read, or holds what is no key."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Makes and checks the tokens of one namespace. The first key signs, and every key is believed, so that keys can be changed."""

    namespace: str
    keys: tuple[bytes, ...] = ()
    accepts_unsigned: bool = False

    def of_task(self, task: ActivityTask) -> Headers:
        """The header that a task carries."""
        return self._header(TASK_TOKEN, _task_message(self.namespace, task.workflow_id, task.run_id, task.scheduled_event_id, task.attempt))

    def of_command(self, value: bytes) -> Headers:
        """The header that a command between partitions carries; `value` holds its workflow id and its origin."""
        return self._header(ORIGIN_TOKEN, _message("command", self.namespace, value))

    def objection(self, record: Record, command: Command) -> str:
        """Why nobody may believe this command; empty where there is no reason, or none is asked for."""
        if not self.keys:
            return ""
        if command.origin is not None:
            message = _message("command", self.namespace, record.value)
            return self._objection(record, ORIGIN_TOKEN, message, "it says that an owner sent it")
        if isinstance(command.body, _REPORTS):
            return self._objection_to_report(record, command.workflow_id, command.body.activity)
        return ""

    def _objection_to_report(self, record: Record, workflow_id: str, activity: ActivityReference) -> str:
        if not activity.scheduled_event_id:
            if self.accepts_unsigned:
                return ""
            return "this namespace signs its tasks: an activity is completed by its task token, activity.info().task_token, not by its ids"
        message = _task_message(self.namespace, workflow_id, activity.run_id, activity.scheduled_event_id, activity.attempt)
        return self._objection(record, TASK_TOKEN, message, "it reports on an activity")

    def _objection(self, record: Record, name: str, message: bytes, what: str) -> str:
        found = [value for header, value in record.headers if header == name]
        if not found:
            return "" if self.accepts_unsigned else f"{what}, and carries no {name}"
        right = any(hmac.compare_digest(found[0], _sign(key, message)) for key in self.keys)
        return "" if right else f"{what}, and its {name} was not made for this by an owner of the namespace"

    def _header(self, name: str, message: bytes) -> Headers:
        return ((name, _sign(self.keys[0], message)),) if self.keys else ()


def read_tokens(namespace: str, path: Path | None) -> Tokens:
    """The tokens that a file of keys makes: a key a line, of 32 characters or more, and lines that begin with # for people.

    No path, no keys. Raises TokenKeysUnusable.
    """
    if path is None:
        return Tokens(namespace)
    try:
        text = path.read_text("ascii")
        others_may = path.stat().st_mode & 0o077
    except (OSError, UnicodeDecodeError) as error:
        raise TokenKeysUnusable(f"the token keys in {path} cannot be read: {error}") from error
    if others_may:
        _logger.warning("the token keys in %s can be read by others than their owner; chmod 600 keeps them secret", path)
    lines = [line for raw in text.splitlines() if (line := raw.strip()) and not line.startswith("#")]
    keys = [line for line in lines if line != ACCEPT_UNSIGNED]
    if short := [number for number, key in enumerate(keys, 1) if len(key) < KEY_LENGTH_MIN]:
        raise TokenKeysUnusable(
            f"key {short[0]} in {path} is shorter than {KEY_LENGTH_MIN} characters; make one with: openssl rand -hex 32"
        )
    if not keys:
        raise TokenKeysUnusable(f"{path} holds no key; make one with: openssl rand -hex 32")
    return Tokens(namespace, tuple(key.encode() for key in keys), ACCEPT_UNSIGNED in lines)


def _task_message(namespace: str, workflow_id: str, run_id: str, scheduled_event_id: int, attempt: int) -> bytes:
    return _message("task", namespace, workflow_id, run_id, str(scheduled_event_id), str(attempt))


def _message(*parts: str | bytes) -> bytes:
    """The parts with their lengths before them, so that no two lists of parts have the same bytes."""
    encoded = [part if isinstance(part, bytes) else part.encode() for part in parts]
    return b"".join(len(part).to_bytes(4) + part for part in encoded)


def _sign(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256").hex().encode()
