"""Limits that the client and the owner both enforce, so that neither trusts the other (design.md 5)."""

from perdure_schemas.errors import LimitExceeded
from perdure_schemas.options import RetryOptions
from perdure_schemas.payload import Payload
from perdure_schemas.topics import NAMESPACE_CHARACTERS_MAX, RECORD_BYTES_MAX, TOPIC_CHARACTERS_MAX, name_in_topic, tasks_topic

ID_BYTES_MAX = 1000
"""Workflow ids, names of types, signals and queues, in bytes of UTF-8."""

TASK_QUEUE_CHARACTERS_MAX = TOPIC_CHARACTERS_MAX - len(tasks_topic("n" * NAMESPACE_CHARACTERS_MAX, ""))
"""Characters of a topic's name that a task queue may take, whatever the namespace and the log."""

PAYLOADS_BYTES_MAX = 2 * 1024 * 1024
"""The arguments of one call, or one result, together."""

DURATION_MS_MAX = 86_399_999_999_999_999
"""Timeouts, delays and timers: what a Python timedelta holds, 2.7 million years. A time plus several of them fits into a key's 64 bits."""

PENDING_ACTIVITIES_MAX = 2000
"""Open activities of one run; one more fails the activation that asks for it."""

PENDING_EXTERNAL_MAX = 2000
"""Unanswered signals and cancels of one run to others, of each kind."""

REQUEST_LIFE_MAX_MS = 24 * 3600 * 1000
"""How far ahead a request may put its expiry; until then its id is remembered (R11)."""

TEXTS_BYTES_MAX = 64 * 1024
"""Text that is no name: the reason of a cancel request; and the names in a retry policy, together. In bytes of UTF-8."""

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
        raise LimitExceeded(f"the {what} has {size} bytes; at most {ID_BYTES_MAX} are allowed. Use a shorter one")
    if any(ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 for character in value):
        raise LimitExceeded(f"the {what} {value!r} has control characters or broken Unicode; use printable text")
    return value


def check_task_queue(value: str) -> str:
    """Return `value` if it is a usable name of a task queue on every log; raise LimitExceeded that says what is wrong otherwise.

    It is part of a topic's name, and Kafka's topics have names of 249 characters.
    """
    check_id("task queue", value)
    if (size := len(name_in_topic(value))) > TASK_QUEUE_CHARACTERS_MAX:
        raise LimitExceeded(
            f"the task queue {value!r} takes {size} characters of its topic's name, and may take {TASK_QUEUE_CHARACTERS_MAX}: letters of "
            "ASCII, digits, '.' and '-' take one each, and every other byte of UTF-8 three. Use a shorter name"
        )
    return value


def check_payloads(what: str, payloads: tuple[Payload, ...]) -> None:
    """Raise LimitExceeded if `payloads` together are larger than one call may carry."""
    if (size := sum(payload.size_bytes for payload in payloads)) > PAYLOADS_BYTES_MAX:
        raise LimitExceeded(
            f"the {what} has {size} bytes; at most {PAYLOADS_BYTES_MAX} are allowed. Store large data elsewhere and pass a reference"
        )


def check_texts(what: str, *texts: str) -> None:
    """Raise LimitExceeded if `texts` together are larger than text beside the payloads may be."""
    if (size := sum(len(one.encode("utf-8", "surrogatepass")) for one in texts)) > TEXTS_BYTES_MAX:
        raise LimitExceeded(f"the {what} has {size} bytes; at most {TEXTS_BYTES_MAX} are allowed. Use a shorter one")


def check_duration(what: str, milliseconds: int) -> None:
    """Raise LimitExceeded for a duration that is negative, or that no sum of times could hold."""
    if not 0 <= milliseconds <= DURATION_MS_MAX:
        raise LimitExceeded(f"the {what} is {milliseconds} ms; it must be 0 (none) to {DURATION_MS_MAX}. Leave it out for no limit")


def check_retry(options: RetryOptions | None) -> None:
    """Raise LimitExceeded for a retry policy that gives no next attempt a time."""
    if options is None:
        return
    check_texts("retry policy's list of error types", *options.non_retryable_error_types)
    check_duration("retry policy's initial interval", options.initial_interval_ms)
    check_duration("retry policy's maximum interval", options.maximum_interval_ms)
    if options.maximum_attempts < 0:
        raise LimitExceeded(f"the retry policy's maximum of attempts is {options.maximum_attempts}; it must be 0 (unlimited) or more")
    if options.maximum_attempts != 1 and not options.backoff_coefficient >= 1:  # NaN is not
        raise LimitExceeded(f"the retry policy's backoff coefficient is {options.backoff_coefficient}; it must be 1 or more")
