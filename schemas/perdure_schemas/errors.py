"""The root of every error that Perdure raises on purpose."""


class PerdureError(Exception):
    """Any error that Perdure raises on purpose; the SDK also calls it TemporalError."""


class CodecError(PerdureError):
    """Bytes that are not a record of the expected topic, or of a schema this build knows."""


class LimitExceeded(PerdureError):
    """A value is larger than Perdure takes; the message names the value, its size and the limit."""


class LogCorrupt(PerdureError):
    """The log shows what no correct writer can have written; its reader stops (see deploy/RUNBOOK.md)."""
