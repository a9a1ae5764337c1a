"""Names of the headers that records carry beside their value."""

CLIENT_ID = "client-id"
"""On `ns.replies`: whose reply it is, UTF-8; others on the same partition skip it without decoding."""

TRACE_PARENT = "traceparent"
"""W3C trace context, ASCII."""

TRACE_STATE = "tracestate"
"""W3C trace state, ASCII."""
