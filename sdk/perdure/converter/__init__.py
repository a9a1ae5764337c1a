"""Values <-> payloads, exceptions <-> failures; all of it can be replaced, none of it imports or evaluates what the wire names.

None and bytes are payloads of their own, all else is JSON. A value is read as the hint of its receiver says; without a hint it is what JSON
gives. A class that does not say how it is written or read is a TypeError that names it. The README lists the kinds that are known.
"""

from perdure.converter._data import DataConverter, default
from perdure.converter._failure import DefaultFailureConverter, FailureConverter
from perdure.converter._payload import (
    AdvancedJSONEncoder,
    BinaryNullPayloadConverter,
    BinaryPlainPayloadConverter,
    CompositePayloadConverter,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    JSONPlainPayloadConverter,
    PayloadConverter,
)
from perdure.converter._types import value_to_type

__all__ = [
    "AdvancedJSONEncoder",
    "BinaryNullPayloadConverter",
    "BinaryPlainPayloadConverter",
    "CompositePayloadConverter",
    "DataConverter",
    "DefaultFailureConverter",
    "DefaultPayloadConverter",
    "EncodingPayloadConverter",
    "FailureConverter",
    "JSONPlainPayloadConverter",
    "PayloadConverter",
    "default",
    "value_to_type",
]
