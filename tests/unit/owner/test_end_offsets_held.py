"""A request for end offsets holds the client of the log that it was made with; once it is answered, an owner lets go of it."""

import weakref

import pytest

from kit.world import World, open_account
from perdure._log.memory import MemoryLog
from perdure._log.port import EndOffsetsRequest, TopicPartition


class _Held:
    """A request that can be watched."""

    def __init__(self, request: EndOffsetsRequest) -> None:
        self._request = request

    def result(self) -> dict[TopicPartition, int] | None:
        return self._request.result()


def test_an_owner_at_work_holds_no_request_for_end_offsets_that_was_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[_Held]] = []
    ask = MemoryLog.request_end_offsets

    def watched(log: MemoryLog, partitions: list[TopicPartition]) -> EndOffsetsRequest:
        request = _Held(ask(log, partitions))
        made.append(weakref.ref(request))
        return request

    monkeypatch.setattr(MemoryLog, "request_end_offsets", watched)
    world = World(partitions=2)
    world.start()
    world.ask("account-0", open_account())
    world.run_until_done()
    assert len(made) >= 2
    assert [number for number, request in enumerate(made) if request() is not None] == []
