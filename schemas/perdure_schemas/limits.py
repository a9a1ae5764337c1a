"""Limits that the client and the owner both enforce, so that neither trusts the other (design.md 5)."""

from perdure_schemas.errors import LimitExceeded
from perdure_schemas.payload import Payload
from perdure_schemas.topics import RECORD_BYTES_MAX

ID_BYTES_MAX = 1000
"""Workflow ids, names of types, signals and queues, in bytes of UTF-8."""

PAYLOADS_BYTES_MAX = 2 * 1024 * 1024
"""The arguments of one call, or one result, together."""

PENDING_ACTIVITIES_MAX = 2000
"""Open activities of one run; one more fails the activation that asks for it."""

PENDING_EXTERNAL_MAX = 2000
"""Unanswered signals and cancels of one run to others, of each kind."""

REQUEST_LIFE_MAX_MS = 24 * 3600 * 1000
"""How far ahead a request may put its expiry; until then its id is remembered (R11)."""

COMMIT_RECORD_BYTES_MAX = RECORD_BYTES_MAX - 64 * 1024
"""A commit record above this is refused before it is appended; the difference is the broker's batch overhead."""

HISTORY_LENGTH_SUGGEST = 4096
"""Events after which continue-as-new is suggested; nothing is ever terminated for its length."""

assert 3 * PAYLOADS_BYTES_MAX < COMMIT_RECORD_BYTES_MAX, "a start with a signal, and what they cause, must fit in one record"


def check_id(what: str, value: str) -> str:
    """Return `value` if it is a usable name; raise LimitExceeded that says what is wrong with `what` otherwise."""
    if value.isascii() and value.isprintable() and 0 < len(value) <= ID_BYTES_MAX:
        return value
    if not value:
        raise LimitExceeded(f"the {what} is empty; give it 1 to {ID_BYTES_MAX} bytes")
    if (size := len(value.encode("utf-8", "surrogatepass"))) > ID_BYTES_MAX:
        raise LimitExceeded(f"the {what} has {size} bytes; at most {ID_BYTES_MAX} are allowed")
    if any(ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 for character in value):
        raise LimitExceeded(f"the {what} {value!r} has control characters or broken Unicode; use printable text")
    return value


def check_payloads(what: str, payloads: tuple[Payload, ...]) -> None:
    """Raise LimitExceeded if `payloads` together are larger than one call may carry."""
    if (size := sum(payload.size_bytes for payload in payloads)) > PAYLOADS_BYTES_MAX:
        raise LimitExceeded(
            f"the {what} has {size} bytes; at most {PAYLOADS_BYTES_MAX} are allowed. Store large data elsewhere and pass a reference"
        )
