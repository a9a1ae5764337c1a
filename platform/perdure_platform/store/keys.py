"""Every key of a partition's store, in one table. The first byte is the kind; numbers are eight bytes, big endian, so that they sort.

| kind | key behind the kind | value |
|---|---|---|
| `i` | | identity: whose store this is, and in which layout |
| `p` | | positions: how far the fold has come, and what belongs to no run |
| `a` | workflow id | last command offset applied, while it is above the watermark |
| `q` | workflow id, 0, request id | a settled request, until it expires |
| `e` | expiry, workflow id, 0, request id | when a settled request expires |
| `c` | workflow id | its current run id |
| `r` | workflow id, 0, run id, 0, offset | append time, then the commit record, or the part of a carried run, as it is in the log |
| `v` | inverted start time, workflow id, 0, run id | the run's summary, for lists |
| `o` | workflow id, 0, run id | the run is open |
| `d` | due time, workflow id, 0, run id | the run needs its owner then |
| `f` | workflow id, 0, run id | the run's code is blocked by a failed activation |
| `k` | offset | a checkpoint at which the log may begin, all parts of which are there: its time, and its watermark + 1 |
| `h` | | the offset of the first part of the newest checkpoint, while others of its parts are missing |
| `b` | | the offset at which this store's fold began, where the log had been trimmed; not in the digest |
| `u` | offset | a record whose effects may not all have left: itself, or the `r` key that has it |

Ids hold no byte below 32 (`perdure_schemas.limits.check_id`), so a zero byte ends them.
"""

IDENTITY = b"i"
POSITIONS = b"p"
APPLIED = b"a"
REQUESTS = b"q"
EXPIRIES = b"e"
CURRENT_RUNS = b"c"
RUNS = b"r"
VISIBILITY = b"v"
OPEN_RUNS = b"o"
DUE = b"d"
FAILING = b"f"
UNRELEASED = b"u"
CHECKPOINTS = b"k"
HALF_CHECKPOINT = b"h"
BEGAN = b"b"

_END = b"\x00"
_TOP = (1 << 64) - 1


def number(value: int) -> bytes:
    """A number as it stands in keys."""
    return value.to_bytes(8, "big")


def behind(prefix: bytes) -> bytes:
    """The first key above all that begin with `prefix`; empty if there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else b""


def applied(workflow_id: str) -> bytes:
    """Key of a workflow id's last applied offset."""
    return APPLIED + workflow_id.encode()


def request(workflow_id: str, request_id: str) -> bytes:
    """Key of a settled request."""
    return REQUESTS + workflow_id.encode() + _END + request_id.encode()


def expiry(expires_at_ms: int, workflow_id: str, request_id: str) -> bytes:
    """Key of the moment after which a settled request is forgotten."""
    return EXPIRIES + number(expires_at_ms) + workflow_id.encode() + _END + request_id.encode()


def request_of_expiry(key: bytes) -> bytes:
    """The key of the request that an expiry key is about."""
    return REQUESTS + key[9:]


def parse_expiry(key: bytes) -> int:
    """The moment in an expiry key."""
    return int.from_bytes(key[1:9], "big")


def current_run(workflow_id: str) -> bytes:
    """Key of a workflow id's current run."""
    return CURRENT_RUNS + workflow_id.encode()


def run_records(workflow_id: str, run_id: str) -> bytes:
    """Prefix of a run's records."""
    return RUNS + workflow_id.encode() + _END + run_id.encode() + _END


def run_record(workflow_id: str, run_id: str, offset: int) -> bytes:
    """Key of one record of a run."""
    return run_records(workflow_id, run_id) + number(offset)


def offset_of_run_record(key: bytes) -> int:
    """The offset in a run record's key."""
    return int.from_bytes(key[-8:], "big")


def visibility(start_time_ms: int, workflow_id: str, run_id: str) -> bytes:
    """Key of a run in the list, newest start first."""
    return VISIBILITY + number(_TOP - start_time_ms) + workflow_id.encode() + _END + run_id.encode()


def open_run(workflow_id: str, run_id: str) -> bytes:
    """Key of a run that is open."""
    return OPEN_RUNS + workflow_id.encode() + _END + run_id.encode()


def due(due_ms: int, workflow_id: str, run_id: str) -> bytes:
    """Key of a run's next deadline."""
    return DUE + number(due_ms) + workflow_id.encode() + _END + run_id.encode()


def parse_due(key: bytes) -> tuple[int, str, str]:
    """Due time, workflow id and run id of a due key."""
    workflow_id, run_id = key[9:].split(_END)
    return int.from_bytes(key[1:9], "big"), workflow_id.decode(), run_id.decode()


def failing(workflow_id: str, run_id: str) -> bytes:
    """Key of a run whose code is blocked."""
    return FAILING + workflow_id.encode() + _END + run_id.encode()


def parse_failing(key: bytes) -> tuple[str, str]:
    """Workflow id and run id of a failing key."""
    workflow_id, run_id = key[1:].split(_END)
    return workflow_id.decode(), run_id.decode()


def unreleased(offset: int) -> bytes:
    """Key of a record with effects."""
    return UNRELEASED + number(offset)


def checkpoint(offset: int) -> bytes:
    """Key of a checkpoint."""
    return CHECKPOINTS + number(offset)


def parse_offset(key: bytes) -> int:
    """The offset of a key that holds nothing else."""
    return int.from_bytes(key[1:], "big")
