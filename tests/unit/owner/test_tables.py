"""The dispatch tables of the core cover everything that the wire allows; a line that is forgotten shows here."""

from dataclasses import fields
from typing import get_args

from perdure._replay import actions as requested
from perdure_platform.partition.transition import actions, fold, handlers
from perdure_platform.partition.transition.effects import _FROM_EVENT
from perdure_platform.partition.transition.sizes import _BY_TYPE, EVENT_BYTES, payload_bytes
from perdure_schemas import commands, events


def test_every_event_has_its_change() -> None:
    assert set(fold._EVENTS) == set(get_args(events.Event))


def test_every_command_is_handled_or_read() -> None:
    assert set(handlers.HANDLERS) | set(handlers.READS) == set(get_args(commands.CommandBody))
    assert not set(handlers.HANDLERS) & set(handlers.READS)


def test_every_action_has_its_event() -> None:
    assert set(actions._ACTIONS) == set(get_args(requested.Action))


def test_effects_come_from_events_that_exist() -> None:
    assert set(get_args(events.Event)) >= _FROM_EVENT


def test_every_event_has_a_size() -> None:
    for kind, (payloads, maps, failures) in _BY_TYPE.items():
        names = {field.name for field in fields(kind)}
        assert {*payloads, *maps, *failures} <= names
    assert payload_bytes([events.TimerCanceled("1", 2), events.MarkerRecorded("m", {"a": "b"})]) == 2 * EVENT_BYTES
    assert set(_BY_TYPE) == set(get_args(events.Event))
