"""Values <-> payloads: null, bytes, JSON, in this order (semantics 1.6)."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from perdure.common import RawValue
from perdure.converter._plain import jsonable, plain
from perdure.converter._types import value_to_type
from perdure_schemas.payload import Payload

_ENCODING = "encoding"
_ConvertedT = TypeVar("_ConvertedT")


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Begin the message of a TypeError or ValueError with what it is about. A subclass is raised as it is: somebody may look for it."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if type(error) not in (TypeError, ValueError):
            raise
        raise type(error)(f"{what}: {error}") from error


class PayloadConverter(ABC):
    """Writes values as payloads and reads them back."""

    @abstractmethod
    def to_payloads(self, values: Sequence[Any]) -> tuple[Payload, ...]:
        """One payload for each value. Raises TypeError or ValueError for one that cannot be written."""

    @abstractmethod
    def from_payloads(self, payloads: Sequence[Payload], type_hints: Sequence[Any] | None = None) -> list[Any]:
        """One value for each payload, of the hinted type where there is a hint. Raises TypeError or ValueError."""

    def to_payload(self, value: Any) -> Payload:
        """One value as one payload."""
        return self.to_payloads([value])[0]

    def from_payload(self, payload: Payload, type_hint: Any = None) -> Any:
        """One payload as one value."""
        return self.from_payloads([payload], [type_hint] if type_hint is not None else None)[0]


class EncodingPayloadConverter(ABC):
    """Writes the values that it knows under one encoding."""

    @property
    @abstractmethod
    def encoding(self) -> str:
        """The name in a payload's metadata."""

    @abstractmethod
    def to_payload(self, value: Any) -> Payload | None:
        """The value as a payload, or None if it is not this one's to write."""

    @abstractmethod
    def from_payload(self, payload: Payload, type_hint: Any = None) -> Any:
        """The value in a payload of this encoding."""


class CompositePayloadConverter(PayloadConverter):
    """Asks several converters in order; a payload's encoding names the one that reads it."""

    def __init__(self, *converters: EncodingPayloadConverter) -> None:
        self.converters = {converter.encoding.encode(): converter for converter in converters}

    def to_payloads(self, values: Sequence[Any]) -> tuple[Payload, ...]:
        """One payload for each value."""
        return tuple([_told(index, len(values), self._write, value) for index, value in enumerate(values)])

    def from_payloads(self, payloads: Sequence[Payload], type_hints: Sequence[Any] | None = None) -> list[Any]:
        """One value for each payload."""
        hints = type_hints or ()
        return [
            _told(index, len(payloads), self._read, payload, hints[index] if index < len(hints) else None)
            for index, payload in enumerate(payloads)
        ]

    def _write(self, value: Any) -> Payload:
        if isinstance(value, RawValue):
            return value.payload
        for converter in self.converters.values():
            payload = converter.to_payload(value)
            if payload is not None:
                return payload
        raise TypeError(f"a value of class {type(value).__qualname__} has no converter")

    def _read(self, payload: Payload, hint: Any) -> Any:
        if hint is RawValue:
            return RawValue(payload)
        converter = self.converters.get(payload.metadata.get(_ENCODING, b""))
        if converter is None:
            known = ", ".join(sorted(name.decode() for name in self.converters))
            raise ValueError(f"payload with encoding {payload.metadata.get(_ENCODING, b'')!r}; this converter reads {known}")
        return converter.from_payload(payload, hint)


def _told(index: int, count: int, convert: Callable[..., _ConvertedT], *given: Any) -> _ConvertedT:
    """What `convert` gives. Of several arguments, an error says which one it is about."""
    if count == 1:
        return convert(*given)
    with naming(f"argument {index + 1}"):
        return convert(*given)


class BinaryNullPayloadConverter(EncodingPayloadConverter):
    """None."""

    encoding = "binary/null"

    def to_payload(self, value: Any) -> Payload | None:
        """None as an empty payload."""
        return Payload({_ENCODING: b"binary/null"}) if value is None else None

    def from_payload(self, payload: Payload, type_hint: Any = None) -> Any:  # noqa: ARG002 - there is only one
        """None."""
        return None


class BinaryPlainPayloadConverter(EncodingPayloadConverter):
    """Bytes."""

    encoding = "binary/plain"

    def to_payload(self, value: Any) -> Payload | None:
        """Bytes as they are."""
        return Payload({_ENCODING: b"binary/plain"}, bytes(value)) if isinstance(value, bytes | bytearray | memoryview) else None

    def from_payload(self, payload: Payload, type_hint: Any = None) -> Any:
        """The bytes, as the hinted kind of bytes. Raises TypeError for a hint of anything else."""
        return value_to_type(type_hint, payload.data)


class AdvancedJSONEncoder(json.JSONEncoder):
    """JSON for dataclasses, pydantic's models, times, UUIDs, enums, decimals, paths, bytes, sets and other collections.

    A class of which JSON can say only what it happens to hold is refused. A subclass may write it: override `default`.
    """

    def default(self, o: Any) -> Any:
        """A value that JSON can say. Raises TypeError that names the class and what to use instead."""
        return jsonable(o)


class JSONPlainPayloadConverter(EncodingPayloadConverter):
    """Everything else, as JSON with sorted keys, so that the same value always gives the same bytes."""

    encoding = "json/plain"

    def __init__(self, encoder: type[json.JSONEncoder] = AdvancedJSONEncoder) -> None:
        self.encoder = encoder
        self._encoder = encoder(separators=(",", ":"), sort_keys=True)

    def to_payload(self, value: Any) -> Payload | None:
        """The value as JSON. Raises TypeError or ValueError for one that JSON cannot say."""
        try:
            return Payload({_ENCODING: b"json/plain"}, self._written(value).encode())
        except RecursionError as error:
            raise ValueError(f"a {type(value).__name__} is nested too deeply, or holds itself, and cannot be written as JSON") from error

    def _written(self, value: Any) -> str:
        try:
            return self._encoder.encode(value)
        except TypeError:  # of keys that are no text, or none of one kind; or of a class, which `plain` raises again
            return self._encoder.encode(plain(value, self._encoder.default))

    def from_payload(self, payload: Payload, type_hint: Any = None) -> Any:
        """The value, of the hinted type."""
        try:
            value = json.loads(payload.data)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"a payload that should be JSON is not: {error}") from error
        return value if type_hint is None else value_to_type(type_hint, value)


class DefaultPayloadConverter(CompositePayloadConverter):
    """None, bytes, JSON."""

    def __init__(self) -> None:
        super().__init__(BinaryNullPayloadConverter(), BinaryPlainPayloadConverter(), JSONPlainPayloadConverter())
