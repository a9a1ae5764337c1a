"""Values <-> payloads, exceptions <-> failures; all of it can be replaced, none of it imports or evaluates what the wire names."""

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
