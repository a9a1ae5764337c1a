"""A run's history as a value: events in order, to and from JSON."""

from __future__ import annotations

import base64
import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

from perdure_schemas.errors import CodecError
from perdure_schemas.events import Event
from perdure_schemas.replies import HistoryEvent

_EVENT_TYPES: dict[str, type] = {kind.__name__: kind for kind in get_args(Event)}


@dataclass(frozen=True)
class WorkflowHistory:
    """The events of one run."""

    workflow_id: str
    events: Sequence[HistoryEvent]
    run_id: str = ""

    def to_json_dict(self) -> dict[str, Any]:
        """Plain values in the shape that Temporal's tools use: `eventId`, `eventType` and `<eventType>EventAttributes` of each event."""
        return {"workflowId": self.workflow_id, "runId": self.run_id, "events": [_event_to_json(event) for event in self.events]}

    def to_json(self) -> str:
        """The same, as text."""
        return json.dumps(self.to_json_dict(), indent=2)

    @classmethod
    def from_json(cls, workflow_id: str, history: str | Mapping[str, Any]) -> WorkflowHistory:
        """What `to_json` or `to_json_dict` gave. Raises CodecError for anything else, or for an event that this build does not know."""
        try:
            values = json.loads(history) if isinstance(history, str) else history
            return cls(workflow_id, tuple(_event_from_json(event) for event in values["events"]), values.get("runId", ""))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CodecError(f"this is not the history of a run as `to_json` writes it: {error!r}") from error

    def __str__(self) -> str:
        return "\n".join(f"{event.event_id:5}  {_time_to_json(event.time_ms)}  {type(event.event).__name__}" for event in self.events)


def _event_to_json(event: HistoryEvent) -> dict[str, Any]:
    name = type(event.event).__name__
    return {
        "eventId": event.event_id,
        "eventTime": _time_to_json(event.time_ms),
        "eventType": name,
        f"{_camel(name)}EventAttributes": _to_json(event.event, type(event.event)),
    }


def _event_from_json(values: Mapping[str, Any]) -> HistoryEvent:
    name = values["eventType"]
    event = _from_json(values[f"{_camel(name)}EventAttributes"], _EVENT_TYPES[name])
    time_ms = round(datetime.fromisoformat(values["eventTime"]).timestamp() * 1000)
    return HistoryEvent(int(values["eventId"]), time_ms, event)


def _time_to_json(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _to_json(value: Any, hint: Any) -> Any:
    """`value` in plain values. Where `hint` leaves several dataclasses open, the value names its own."""
    if value is None or isinstance(value, str | bool | float):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, int):
        return value
    if isinstance(value, tuple):
        return [_to_json(item, get_args(hint)[0]) for item in value]
    if isinstance(value, dict):
        return {key: _to_json(item, get_args(hint)[1]) for key, item in value.items()}
    if not is_dataclass(value):
        raise TypeError(f"no JSON for a {type(value).__name__}")
    kind = type(value)
    hints = get_type_hints(kind)
    attributes = {_camel(field.name): _to_json(getattr(value, field.name), hints[field.name]) for field in fields(value)}
    return {_camel(kind.__name__): attributes} if len(_alternatives(hint)) > 1 else attributes


def _from_json(value: Any, hint: Any) -> Any:
    alternatives = _alternatives(hint)
    if value is None:
        return None
    if len(alternatives) > 1:
        ((name, attributes),) = value.items()
        return _from_json(attributes, next(kind for kind in alternatives if _camel(kind.__name__) == name))
    kind: Any = alternatives[0]
    if get_origin(kind) is tuple:
        return tuple(_from_json(item, get_args(kind)[0]) for item in value)
    if get_origin(kind) is dict:
        return {key: _from_json(item, get_args(kind)[1]) for key, item in value.items()}
    if kind is bytes:
        return base64.b64decode(value, validate=True)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        known = {field.name: _camel(field.name) for field in fields(kind)}
        return _build(kind, **{name: _from_json(value[key], hints[name]) for name, key in known.items() if key in value})
    return kind(value)


def _build(kind: Any, **attributes: Any) -> Any:
    return kind(**attributes)


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """The types that `hint` leaves open, None aside."""
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(kind for kind in get_args(hint) if kind is not type(None))
    return (hint,)


def _camel(name: str) -> str:
    """`first_event_id` and `FirstEventId` as `firstEventId`."""
    words = name.split("_")
    joined = words[0] + "".join(word.capitalize() for word in words[1:])
    return joined[:1].lower() + joined[1:]
