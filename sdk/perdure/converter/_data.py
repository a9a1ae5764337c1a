"""The pair of converters that a client, an owner and a worker share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from perdure.converter._failure import DefaultFailureConverter, FailureConverter
from perdure.converter._payload import DefaultPayloadConverter, PayloadConverter


@dataclass(frozen=True)
class DataConverter:
    """How values and errors are written. Client, owner and worker of a namespace must use the same."""

    payload_converter: PayloadConverter = field(default_factory=DefaultPayloadConverter)
    failure_converter: FailureConverter = field(default_factory=DefaultFailureConverter)
    default: ClassVar[DataConverter]


DataConverter.default = DataConverter()


def default() -> DataConverter:
    """The converter that is used where none is given."""
    return DataConverter.default
