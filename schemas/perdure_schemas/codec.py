"""Records <-> bytes: Avro single-object encoding, the schema derived from the dataclasses (design.md 10).

A value is `C3 01`, the CRC-64-AVRO fingerprint of its schema (little endian), and the Avro body. Every schema that was ever released
lies under `avro/<topic>/v<N>.avsc`; a reader looks the fingerprint up there, and what an old one lacks has its default. The newest
file of a topic must be what its dataclasses say; a test sees to it. Types map like this: int is long, float is double, tuples are
arrays, dicts are maps, dataclasses are records named like their class, enums are their numbers or strings, and a Failure is the array
of itself and its causes (so that no depth on the wire is depth on a stack). Nothing from the wire is imported or evaluated: names are
looked up in fixed tables.
"""

from __future__ import annotations

import dataclasses
import io
import json
import types
import typing
from collections.abc import Callable, Mapping
from enum import IntEnum, StrEnum
from importlib.resources import files
from operator import attrgetter
from typing import Any, Generic, TypeVar, Union, get_args, get_origin

import fastavro
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

from perdure_schemas.commands import Command
from perdure_schemas.dead_letters import DeadLetter
from perdure_schemas.errors import CodecError
from perdure_schemas.failure import FAILURE_CAUSES_MAX, Failure
from perdure_schemas.history import HistoryRecord
from perdure_schemas.replies import Reply, ReplyBody, WorkflowBlocked, WorkflowDescribed, WorkflowsListed
from perdure_schemas.tasks import ActivityTask

T = TypeVar("T")

MAGIC = b"\xc3\x01"
"""First bytes of the single-object encoding."""

_HEADER_BYTES = 10
_ONLY = "value"
_Convert = Callable[[Any], Any]
_PRIMITIVES: dict[Any, str] = {str: "string", int: "long", float: "double", bool: "boolean", bytes: "bytes"}


class UnknownSchema(CodecError):
    """The bytes were written with a schema that this build does not have: by a newer one, most likely."""


@dataclasses.dataclass(slots=True)
class _Shape:
    """How one type is written: its schema, and what has to be done to its values (None: nothing)."""

    schema: Any
    to_avro: _Convert | None = None
    from_avro: _Convert | None = None
    record_name: str = ""


class _Shapes:
    """Derives shapes for one schema, in which a record is spelled out once and named afterwards."""

    def __init__(self) -> None:
        self._records: dict[type, _Shape] = {}

    def of(self, kind: Any) -> _Shape:
        """The shape of a type."""
        if isinstance(kind, typing.NewType):
            return self.of(kind.__supertype__)
        if kind in _PRIMITIVES:
            return _Shape(_PRIMITIVES[kind])
        origin = get_origin(kind)
        if origin in (Union, types.UnionType):
            return self._union(get_args(kind))
        if origin is tuple:
            return self._array(get_args(kind)[0])
        if origin is dict:
            return self._map(get_args(kind)[1])
        if kind is Failure:
            return self._failure()
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            return self._record(kind)
        if isinstance(kind, type) and issubclass(kind, IntEnum):
            return _Shape("long", int, kind)
        if isinstance(kind, type) and issubclass(kind, StrEnum):
            return _Shape("string", str, kind)
        raise TypeError(f"{kind!r} has no place on the wire")

    def _array(self, item: Any) -> _Shape:
        shape = self.of(item)
        to_avro, from_avro = shape.to_avro, shape.from_avro
        write = None if to_avro is None else lambda values: [to_avro(value) for value in values]
        read = tuple if from_avro is None else lambda values: tuple([from_avro(value) for value in values])
        return _Shape({"type": "array", "items": shape.schema}, write, read)

    def _map(self, item: Any) -> _Shape:
        shape = self.of(item)
        to_avro, from_avro = shape.to_avro, shape.from_avro
        write = None if to_avro is None else lambda values: {key: to_avro(value) for key, value in values.items()}
        read = None if from_avro is None else lambda values: {key: from_avro(value) for key, value in values.items()}
        return _Shape({"type": "map", "values": shape.schema}, write, read)

    def _union(self, members: tuple[Any, ...]) -> _Shape:
        """Records of a union are written and read with their name beside them, so that neither side has to guess."""
        nullable = types.NoneType in members
        shapes = {member: self.of(member) for member in members if member is not types.NoneType}
        schema = [*(["null"] if nullable else []), *(shape.schema for shape in shapes.values())]
        if all(shape.record_name for shape in shapes.values()):
            writers = {member: (shape.record_name, shape.to_avro) for member, shape in shapes.items()}
            readers = {shape.record_name: shape.from_avro for shape in shapes.values()}
            return _Shape(schema, _write_record_of_union(writers), _read_record_of_union(readers))
        if nullable and len(shapes) == 1:
            (shape,) = shapes.values()
            return _Shape(schema, _unless_none(shape.to_avro), _unless_none(shape.from_avro))
        raise TypeError(f"a union of {members!r} has no place on the wire: records, or one type and None")

    def _record(self, kind: type) -> _Shape:
        known = self._records.get(kind)
        if known is not None:
            return dataclasses.replace(known, schema=kind.__name__)
        if any(other.__name__ == kind.__name__ for other in self._records):
            raise TypeError(f"two records of one schema are called {kind.__name__}")
        shape = self._records[kind] = _Shape(kind.__name__, record_name=kind.__name__)
        hints = typing.get_type_hints(kind)
        fields: list[dict[str, Any]] = []
        shapes: dict[str, _Shape] = {}
        for field in dataclasses.fields(kind):
            shapes[field.name] = self.of(hints[field.name])
            fields.append({"name": field.name, "type": shapes[field.name].schema, **_default(field, shapes[field.name])})
        shape.to_avro = _write_record(kind, {name: s.to_avro for name, s in shapes.items() if s.to_avro is not None})
        shape.from_avro = _read_record(kind, {name: s.from_avro for name, s in shapes.items() if s.from_avro is not None})
        return dataclasses.replace(shape, schema={"type": "record", "name": kind.__name__, "fields": fields})

    def _failure(self) -> _Shape:
        """A Failure is the array of itself, its cause, the cause of that …; none of them has a cause of its own on the wire."""
        if Failure in self._records:
            known = self._records[Failure]
            return dataclasses.replace(known, schema={"type": "array", "items": "Failure"})
        self._records[Failure] = known = _Shape("Failure")
        info = self.of(typing.get_type_hints(Failure)["info"])
        text = [{"name": name, "type": "string", "default": ""} for name in ("message", "stack_trace", "source")]
        record = {"type": "record", "name": "Failure", "fields": [*text, {"name": "info", "type": info.schema, "default": None}]}
        assert info.to_avro is not None and info.from_avro is not None  # noqa: PT018 - for the type checker
        known.to_avro, known.from_avro = _write_failure(info.to_avro), _read_failure(info.from_avro)
        return dataclasses.replace(known, schema={"type": "array", "items": record})


def _default(field: dataclasses.Field[Any], shape: _Shape) -> dict[str, Any]:
    """An Avro default wherever the dataclass has one that a schema can say, so that the field can be missing in old bytes."""
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return {}
    if value is None or isinstance(value, bool | str | float) or (isinstance(value, int) and shape.schema == "long"):
        return {"default": int(value) if isinstance(value, IntEnum) else value}
    if value in ((), {}):
        return {"default": [] if value == () else {}}
    if value == b"":
        return {"default": ""}
    if dataclasses.is_dataclass(value) and shape.to_avro is not None:
        return {"default": json.loads(json.dumps(shape.to_avro(value)))}
    raise TypeError(f"the default of {field.name} cannot stand in a schema")


def _unless_none(convert: _Convert | None) -> _Convert | None:
    return None if convert is None else lambda value: None if value is None else convert(value)


def _write_record(kind: type, converting: dict[str, _Convert]) -> _Convert:
    names = tuple(field.name for field in dataclasses.fields(kind))
    if len(names) < 2:
        get_few = [attrgetter(name) for name in names]
        getter: _Convert = lambda value: tuple(get(value) for get in get_few)  # noqa: E731
    else:
        getter = attrgetter(*names)
    pairs = tuple(converting.items())

    def write(value: Any) -> dict[str, Any]:
        plain = dict(zip(names, getter(value), strict=True))
        for name, convert in pairs:
            plain[name] = convert(plain[name])
        return plain

    return write


def _read_record(kind: type, converting: dict[str, _Convert]) -> _Convert:
    pairs = tuple(converting.items())

    def read(plain: dict[str, Any]) -> Any:
        for name, convert in pairs:
            if name in plain:  # an older version may lack it, and the dataclass has its default
                plain[name] = convert(plain[name])
        return kind(**plain)

    return read


def _write_record_of_union(writers: dict[Any, tuple[str, _Convert | None]]) -> _Convert:
    def write(value: Any) -> Any:
        if value is None:
            return None
        name, convert = writers[type(value)]
        assert convert is not None
        return name, convert(value)

    return write


def _read_record_of_union(readers: dict[str, _Convert | None]) -> _Convert:
    def read(named: Any) -> Any:
        if named is None:
            return None
        name, plain = named
        convert = readers[name]
        assert convert is not None
        return convert(plain)

    return read


def _write_failure(write_info: _Convert) -> _Convert:
    def write(failure: Failure) -> list[dict[str, Any]]:
        chain: list[dict[str, Any]] = []
        link: Failure | None = failure
        while link is not None and len(chain) < FAILURE_CAUSES_MAX:
            chain.append({"message": link.message, "stack_trace": link.stack_trace, "source": link.source, "info": write_info(link.info)})
            link = link.cause
        return chain

    return write


def _read_failure(read_info: _Convert) -> _Convert:
    def read(chain: list[dict[str, Any]]) -> Failure:
        if not 0 < len(chain) <= FAILURE_CAUSES_MAX:
            raise CodecError(f"a failure has {len(chain)} links, and 1 to {FAILURE_CAUSES_MAX} are allowed")
        failure: Failure | None = None
        for link in reversed(chain):
            failure = Failure(link["message"], link["stack_trace"], link["source"], failure, read_info(link["info"]))
        assert failure is not None
        return failure

    return read


class RecordCodec(Generic[T]):
    """Encodes values of one dataclass, or of a union of them. `released` are the schemas, by version, that bytes may be written with.

    A later version only adds fields with defaults and members of unions, so bytes of an earlier one need no resolution to be read.
    """

    def __init__(self, kind: Any, released: Mapping[int, Any] | None = None) -> None:
        shape = _Shapes().of(kind)
        assert shape.to_avro is not None
        assert shape.from_avro is not None
        self._to_avro, self._from_avro = shape.to_avro, shape.from_avro
        self.schema: Any = shape.schema
        self._parsed = _parsed(shape.schema)
        self._fingerprint = _fingerprint(shape.schema)
        self._header = MAGIC + self._fingerprint
        self._versions = {number: (MAGIC + _fingerprint(schema), _parsed(schema)) for number, schema in (released or {}).items()}
        self._writers = {header[2:]: parsed for header, parsed in self._versions.values()}

    def encode(self, value: T, version: int | None = None) -> bytes:
        """`value` as bytes, of the newest version or of an earlier one, which leaves out what that does not know.

        Raises CodecError for a value that its own type, or that version, does not allow.
        """
        header, schema = (self._header, self._parsed) if version is None else self._versions[version]
        out = io.BytesIO()
        out.write(header)
        try:
            fastavro.schemaless_writer(out, schema, {_ONLY: self._to_avro(value)})
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError, AssertionError) as error:
            raise CodecError(f"{type(value).__name__} cannot be encoded: {error!r}") from error
        return out.getvalue()

    def decode(self, data: bytes) -> T:
        """The value in `data`. Raises CodecError (UnknownSchema) for anything that is not one, with nothing left over."""
        if len(data) < _HEADER_BYTES or data[:2] != MAGIC:
            raise CodecError(f"{len(data)} bytes that do not begin like a record (C3 01 and a schema's fingerprint)")
        written_with = data[2:_HEADER_BYTES]
        source = io.BytesIO(data)
        source.seek(_HEADER_BYTES)
        plain: Any
        try:
            if written_with == self._fingerprint:
                plain = fastavro.schemaless_reader(source, self._parsed, None, return_record_name=True)
            else:
                plain = self._read_old(source, written_with)
            value: T = self._from_avro(plain[_ONLY])
        except CodecError:
            raise
        except Exception as error:
            raise CodecError(f"not a record of its schema: {error!r}") from error
        if (rest := len(data) - source.tell()) != 0:
            raise CodecError(f"{rest} bytes follow the record")
        return value

    def _read_old(self, source: io.BytesIO, written_with: bytes) -> Any:
        writer = self._writers.get(written_with)
        if writer is None:
            raise UnknownSchema(f"written with schema {written_with.hex()}, which this build does not have; a newer build may")
        return fastavro.schemaless_reader(source, writer, None, return_record_name=True)


def _parsed(schema: Any) -> Any:
    """A schema as fastavro takes it, as the only field of a record, whose bytes are those of the field.

    Each call of fastavro copies the names that are known in a schema: of a record once, but of a union once for each of its members.
    """
    return parse_schema({"type": "record", "name": "_Record", "fields": [{"name": _ONLY, "type": schema}]})


def _fingerprint(schema: Any) -> bytes:
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def released_schemas(topic: str) -> dict[int, Any]:
    """Every schema of a topic that was ever released, by version."""
    folder = files("perdure_schemas") / "avro" / topic
    found = {int(entry.name[1:-5]): json.loads(entry.read_text("utf-8")) for entry in folder.iterdir() if entry.name.endswith(".avsc")}
    return dict(sorted(found.items()))


def _codec(kind: Any, topic: str) -> RecordCodec[Any]:
    return RecordCodec(kind, released_schemas(topic))


TOPIC_CODECS: dict[str, RecordCodec[Any]] = {
    "commands": _codec(Command, "commands"),
    "history": _codec(HistoryRecord, "history"),
    "replies": _codec(Reply, "replies"),
    "tasks": _codec(ActivityTask, "tasks"),
    "dead_letters": _codec(DeadLetter, "dead_letters"),
}

encode_command: Callable[[Command], bytes] = TOPIC_CODECS["commands"].encode
decode_command: Callable[[bytes], Command] = TOPIC_CODECS["commands"].decode
HISTORY_VERSION = 3
"""The version that histories are written in. What version 4 adds is in replies that are never recorded, and owners of the release
before this one read 3."""


def encode_history(record: HistoryRecord) -> bytes:
    """A record of a history as bytes, in HISTORY_VERSION."""
    return TOPIC_CODECS["history"].encode(record, HISTORY_VERSION)


decode_history: Callable[[bytes], HistoryRecord] = TOPIC_CODECS["history"].decode


def encode_reply(reply: Reply) -> bytes:
    """A reply as bytes. One that says nothing that is new in version 2 is written as version 1, for older clients and workers."""
    return TOPIC_CODECS["replies"].encode(reply, None if _says_something_new(reply.body) else 1)


def _says_something_new(body: ReplyBody) -> bool:
    match body:
        case WorkflowsListed():
            return any(run.blocked for run in body.runs)
        case WorkflowDescribed():
            has_queues = any(activity.task_queue for activity in body.pending_activities)
            return body.summary.blocked or body.next_timer_time_ms != 0 or has_queues
        case _:
            return isinstance(body, WorkflowBlocked)


decode_reply: Callable[[bytes], Reply] = TOPIC_CODECS["replies"].decode
encode_task: Callable[[ActivityTask], bytes] = TOPIC_CODECS["tasks"].encode
decode_task: Callable[[bytes], ActivityTask] = TOPIC_CODECS["tasks"].decode
encode_dead_letter: Callable[[DeadLetter], bytes] = TOPIC_CODECS["dead_letters"].encode
decode_dead_letter: Callable[[bytes], DeadLetter] = TOPIC_CODECS["dead_letters"].decode
