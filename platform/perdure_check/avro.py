"""Bytes -> records, by a decoder of its own: the Avro specification and the `.avsc` files are all that it knows.

A value is framed as C3 01, the CRC-64-AVRO of its schema's canonical form (little endian), and the body; nothing may follow. A decoded
record is a dict of its fields, with the record's name under KIND. What a schema does not hold and the newest one of the same topic does is
filled in with the newest one's default, so that rules are written for the newest alone.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable
from typing import Any

Decoded = dict[str, Any]
"""A record: field name to value, and KIND."""

KIND = "@kind"
"""Where a decoded record keeps its own name; no Avro field can be called so."""

_MAGIC = b"\xc3\x01"
_HEADER_BYTES = 10
_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_VARINT_BYTES_MAX = 10
_FLOAT = struct.Struct("<f")
_DOUBLE = struct.Struct("<d")


class Undecodable(Exception):
    """The bytes are no record of a known schema. `at` is the byte where that showed."""

    def __init__(self, what: str, at: int) -> None:
        super().__init__(f"{what} (byte {at})")
        self.at = at


class UnknownFingerprint(Undecodable):
    """The bytes were written with a schema that is not among the released ones."""


class _Cursor:
    """Bytes and a place in them."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at
        self.end = len(data)


_Read = Callable[[_Cursor], Any]


class Decoder:
    """Decodes the records of one topic, given every schema that was released for it, oldest first."""

    def __init__(self, schemas: Iterable[Any]) -> None:
        released = list(schemas)
        newest: dict[str, Any] = {}
        _collect_records(released[-1], newest)
        self._readers = {fingerprint(schema): _Compiler(newest).read(schema) for schema in released}

    def decode(self, data: bytes) -> Decoded:
        """The record in `data`. Raises Undecodable."""
        if len(data) < _HEADER_BYTES or data[:2] != _MAGIC:
            raise Undecodable(f"{len(data)} bytes that do not begin with C3 01 and a fingerprint", 0)
        read = self._readers.get(data[2:_HEADER_BYTES])
        if read is None:
            raise UnknownFingerprint(f"no released schema has the fingerprint {data[2:_HEADER_BYTES].hex()}", 2)
        cursor = _Cursor(data, _HEADER_BYTES)
        value: Decoded = read(cursor)
        if cursor.at != cursor.end:
            raise Undecodable(f"{cursor.end - cursor.at} bytes follow the record", cursor.at)
        return value


# -- from a schema to a reader


class _Compiler:
    """Makes readers for one schema; `newest` are the records of the newest one, for the fields that older ones lack."""

    def __init__(self, newest: dict[str, Any]) -> None:
        self._newest = newest
        self._named: dict[str, _Read] = {}

    def read(self, schema: Any) -> _Read:
        """A reader for values of `schema`."""
        if isinstance(schema, list):
            return _union([self.read(branch) for branch in schema])
        if isinstance(schema, str):
            found = _READERS.get(schema) or self._named.get(schema)
            if found is None:
                raise ValueError(f"a schema uses {schema!r} before it says what that is")
            return found
        match schema["type"]:
            case "record":
                return self._record(schema)
            case "array":
                return _array(self.read(schema["items"]))
            case "map":
                return _map(self.read(schema["values"]))
            case "enum":
                return self._name(schema["name"], _enum(schema["symbols"]))
            case "fixed":
                return self._name(schema["name"], _fixed(schema["size"]))
            case inner:
                return self.read(inner)

    def _name(self, name: str, read: _Read) -> _Read:
        self._named[name] = read
        return read

    def _record(self, schema: Any) -> _Read:
        name = schema["name"]
        fields: list[tuple[str, _Read]] = []
        self._named[name] = lambda cursor: read(cursor)  # a record may hold itself
        fields += [(field["name"], self.read(field["type"])) for field in schema["fields"]]
        present = {field for field, _ in fields}
        later = self._newest.get(name, {"fields": ()})["fields"]
        missing = {field["name"]: _default(field["type"], field["default"]) for field in later if field["name"] not in present}

        def read(cursor: _Cursor) -> Decoded:
            value: Decoded = {KIND: name, **missing}
            for field, read_field in fields:
                value[field] = read_field(cursor)
            return value

        return self._name(name, read)


def _default(schema: Any, default: Any) -> Any:
    """A default as the reader would have given it; one of a union is of its first branch."""
    first = schema[0] if isinstance(schema, list) else schema
    return default.encode("latin-1") if first == "bytes" else default


def _collect_records(schema: Any, found: dict[str, Any]) -> None:
    if isinstance(schema, list):
        for branch in schema:
            _collect_records(branch, found)
    elif isinstance(schema, dict):
        if schema["type"] == "record":
            found[schema["name"]] = schema
            for field in schema["fields"]:
                _collect_records(field["type"], found)
        for inner in ("items", "values"):
            if inner in schema:
                _collect_records(schema[inner], found)


def record_names(schemas: Iterable[Any]) -> set[str]:
    """Every record that the schemas describe."""
    found: dict[str, Any] = {}
    for schema in schemas:
        _collect_records(schema, found)
    return set(found)


def _union(branches: list[_Read]) -> _Read:
    def read(cursor: _Cursor) -> Any:
        at = cursor.at
        index = _long(cursor)
        if not 0 <= index < len(branches):
            raise Undecodable(f"branch {index} of a union of {len(branches)}", at)
        return branches[index](cursor)

    return read


def _fixed(size: int) -> _Read:
    return lambda cursor: _take(cursor, size)


def _enum(symbols: list[str]) -> _Read:
    def read(cursor: _Cursor) -> str:
        at = cursor.at
        index = _long(cursor)
        if not 0 <= index < len(symbols):
            raise Undecodable(f"symbol {index} of {len(symbols)}", at)
        return symbols[index]

    return read


def _array(read_item: _Read) -> _Read:
    def read(cursor: _Cursor) -> list[Any]:
        items: list[Any] = []
        while count := _block(cursor):
            items += [read_item(cursor) for _ in range(count)]
        return items

    return read


def _map(read_value: _Read) -> _Read:
    def read(cursor: _Cursor) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while count := _block(cursor):
            for _ in range(count):
                key = _string(cursor)
                values[key] = read_value(cursor)
        return values

    return read


def _block(cursor: _Cursor) -> int:
    at = cursor.at
    count = _long(cursor)
    if count < 0:  # the block's size in bytes follows; nobody here skips blocks
        count = -count
        _long(cursor)
    if count > cursor.end - cursor.at:
        raise Undecodable(f"{count} items, and {cursor.end - cursor.at} bytes are left for them", at)
    return count


# -- primitives


def _take(cursor: _Cursor, size: int) -> bytes:
    at = cursor.at
    if not 0 <= size <= cursor.end - at:
        raise Undecodable(f"{size} bytes are announced, and {cursor.end - at} are left", at)
    cursor.at = at + size
    return cursor.data[at : at + size]


def _long(cursor: _Cursor) -> int:
    data, at = cursor.data, cursor.at
    value = shift = 0
    while at < cursor.end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            cursor.at = at
            value = (value >> 1) ^ -(value & 1)
            if not -(1 << 63) <= value < 1 << 63:
                raise Undecodable("a number of more than 64 bits", at)
            return value
        shift += 7
        if shift >= 7 * _VARINT_BYTES_MAX:
            raise Undecodable("a number that does not end", at)
    raise Undecodable("the bytes end within a number", at)


def _null(_cursor: _Cursor) -> None:
    return None


def _boolean(cursor: _Cursor) -> bool:
    byte = _take(cursor, 1)
    if byte not in (b"\x00", b"\x01"):
        raise Undecodable(f"a truth value of {byte[0]}", cursor.at - 1)
    return byte == b"\x01"


def _float(cursor: _Cursor) -> float:
    (value,) = _FLOAT.unpack(_take(cursor, 4))
    return float(value)


def _double(cursor: _Cursor) -> float:
    (value,) = _DOUBLE.unpack(_take(cursor, 8))
    return float(value)


def _bytes(cursor: _Cursor) -> bytes:
    return _take(cursor, _long(cursor))


def _string(cursor: _Cursor) -> str:
    at = cursor.at
    try:
        return _take(cursor, _long(cursor)).decode()
    except UnicodeDecodeError as error:
        raise Undecodable(f"text that is not UTF-8: {error.reason}", at) from None


_READERS: dict[str, _Read] = {
    "null": _null,
    "boolean": _boolean,
    "int": _long,
    "long": _long,
    "float": _float,
    "double": _double,
    "bytes": _bytes,
    "string": _string,
}


# -- fingerprints

_EMPTY = 0xC15D213AA4D7A795


def _table() -> tuple[int, ...]:
    rows = []
    for row in range(256):
        value = row
        for _ in range(8):
            value = (value >> 1) ^ (_EMPTY if value & 1 else 0)
        rows.append(value)
    return tuple(rows)


_TABLE = _table()


def fingerprint(schema: Any) -> bytes:
    """The eight bytes by which records name their schema: CRC-64-AVRO of its canonical form, little endian."""
    value = _EMPTY
    for byte in json.dumps(_canonical(schema), separators=(",", ":"), ensure_ascii=False).encode():
        value = (value >> 8) ^ _TABLE[(value ^ byte) & 0xFF]
    return value.to_bytes(8, "little")


def _canonical(schema: Any) -> Any:
    """The schema with nothing in it but what decides how bytes are read, in the order that the specification gives."""
    if isinstance(schema, str):
        return schema
    if isinstance(schema, list):
        return [_canonical(branch) for branch in schema]
    kind = schema["type"]
    if isinstance(kind, dict | list) or kind in _PRIMITIVES:
        return _canonical(kind)
    plain: dict[str, Any] = {"name": schema["name"]} if "name" in schema else {}
    plain["type"] = kind
    if "fields" in schema:
        plain["fields"] = [{"name": field["name"], "type": _canonical(field["type"])} for field in schema["fields"]]
    for name in ("symbols", "size"):
        if name in schema:
            plain[name] = schema[name]
    for name in ("items", "values"):
        if name in schema:
            plain[name] = _canonical(schema[name])
    return plain
