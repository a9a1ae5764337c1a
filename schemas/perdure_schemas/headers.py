"""Names of the headers that records carry beside their value."""

CLIENT_ID = "client-id"
"""On `ns.replies`: whose reply it is, UTF-8; others on the same partition skip it without decoding."""

TRACE_PARENT = "traceparent"
"""W3C trace context, ASCII."""

TRACE_STATE = "tracestate"
"""W3C trace state, ASCII."""

TASK_TOKEN = "task-token"  # noqa: S105 - a name
"""On tasks, and given back on every report about them: names the attempt in a way that only owners can, hexadecimal digits."""

ORIGIN_TOKEN = "origin-token"  # noqa: S105 - a name
"""On commands that have an origin: shows that an owner sent them, hexadecimal digits."""
