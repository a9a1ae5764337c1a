"""What can go wrong between Perdure and its log. Adapters map every foreign error to one of these, at their border.

LogError
├── LogUnavailable        the same call may succeed later
├── LogUnauthorized       credentials or permissions; nothing changes until somebody acts
├── LogMisconfigured      the address or the medium's settings cannot work
│   └── TopicNotFound     a topic that must exist does not
├── LogClosed             used after close
├── LogBusy               too much in flight; poll and try again
├── RecordTooLarge        this record will never fit
├── OffsetOutOfRange      a position that the partition does not have
└── LogDamaged            the medium itself says that its data are broken
    └── PartitionDamaged  the same of one partition; the others can be read
"""

import copy

from perdure_schemas.errors import PerdureError


class LogError(PerdureError):
    """Something between Perdure and its log."""

    is_doubtful = False
    """Whether the log may have taken all the same what this says has failed."""


def doubtful(error: LogError) -> LogError:
    """The same error, of something that was on its way when it struck."""
    other = copy.copy(error)
    other.is_doubtful = True
    return other


class LogUnavailable(LogError):
    """The log cannot be reached or does not answer in time; the same call may succeed later."""


class LogUnauthorized(LogError):
    """The log refused the credentials or the operation."""


class LogMisconfigured(LogError):
    """The address is wrong, or the medium is set up in a way that cannot work."""


class TopicNotFound(LogMisconfigured):
    """A topic that must exist does not."""


class LogClosed(LogError):
    """Used after close."""


class LogBusy(LogError):
    """Too much is in flight; poll and try the same record again."""


class RecordTooLarge(LogError):
    """The medium will never take this record."""


class LogDamaged(LogError):
    """The medium itself reports broken data."""


class OffsetOutOfRange(LogError):
    """A position outside of what the partition holds."""

    def __init__(self, topic: str, partition: int, message: str) -> None:
        super().__init__(f"{topic}[{partition}]: {message}")
        self.topic = topic
        self.partition = partition


class PartitionDamaged(LogDamaged):
    """A record of a partition is not what was written, or cannot be told from what was not."""

    def __init__(self, topic: str, partition: int, message: str) -> None:
        super().__init__(f"{topic}[{partition}]: {message}")
        self.topic = topic
        self.partition = partition
