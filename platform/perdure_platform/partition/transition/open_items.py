"""What is open in a run, by the id of the event that opened it: who is due next is found without a walk over all.

A run may have thousands of activities open, and each record of the run asks several times when it is due next. The cost of a record
must not grow with their number, or a fan-out costs its square.
"""

from __future__ import annotations

import heapq
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import Protocol, Self, TypeVar

FEW = 4
"""A number of items. So few are looked at one by one, and a run that waits for one timer keeps no heap for it."""

STALE_MAX = 16
"""A number of deadlines that are out of date: so many, and as many as items are open, stay until they are at the front."""


class Item(Protocol):
    """Something that is due at some time."""

    def next_due_ms(self) -> int:
        """When it is due; the same for as long as it is the same item."""


ItemT = TypeVar("ItemT", bound=Item)


class OpenItems(Mapping[int, ItemT]):
    """Items by event id, in the order in which they were opened. Only the fold writes here.

    `_dues` is a heap of (due_ms, event id) with an entry for each item, once there were more than a few. Entries of items that were
    closed or replaced stay until they are at the front, or too many: an entry counts only where the item of its id is due at its time.
    """

    __slots__ = ("_dues", "_items")

    def __init__(self) -> None:
        self._items: dict[int, ItemT] | None = None  # most runs never have any
        self._dues: list[tuple[int, int]] | None = None

    def copy(self) -> Self:
        """An independent copy; the items are shared. Both parts are copied in one piece, without a look at any item."""
        copied = type(self)()
        if self._items:
            copied._items = self._items.copy()  # noqa: SLF001 - its own
            copied._dues = self._dues.copy() if self._dues is not None else None  # noqa: SLF001
        return copied

    # -- what the fold writes

    def put(self, event_id: int, item: ItemT) -> None:
        """Open an item, or replace it."""
        if self._items is None:
            self._items = {}
        self._items[event_id] = item
        if self._dues is None:
            if len(self._items) > FEW:
                self._heap()
            return
        heapq.heappush(self._dues, (item.next_due_ms(), event_id))
        if len(self._dues) > 2 * len(self._items) + STALE_MAX:
            self._heap()

    def _heap(self) -> None:
        self._dues = [(item.next_due_ms(), event_id) for event_id, item in self.items()]
        heapq.heapify(self._dues)

    def close(self, event_id: int) -> ItemT | None:
        """Close an item; None if it is not open."""
        return self._items.pop(event_id, None) if self._items else None

    def clear(self) -> None:
        """Close everything."""
        self._items = self._dues = None

    # -- when they are due

    def next_due_ms(self) -> int:
        """When the first of them is due; 0 if none is open."""
        if self._dues is None:
            return min([item.next_due_ms() for item in self.values()], default=0)
        dues = self._dues
        while dues:
            due_ms, event_id = dues[0]
            if self._is_current(due_ms, event_id):
                return due_ms
            heapq.heappop(dues)
        return 0

    def due(self, limit_ms: int) -> list[tuple[int, ItemT]]:
        """Those that are due by then, each with its event id, in the order of time and then of their events."""
        found = {(item.next_due_ms(), event_id) for event_id, item in self.items()} if self._dues is None else self._front(limit_ms)
        return [(event_id, self[event_id]) for due_ms, event_id in sorted(found) if due_ms <= limit_ms]

    def _front(self, limit_ms: int) -> set[tuple[int, int]]:
        dues, found, places = self._dues or [], set(), [0]
        while places:
            place = places.pop()
            if place < len(dues) and dues[place][0] <= limit_ms:  # what lies below it in the heap is not due before it
                if self._is_current(*dues[place]):
                    found.add(dues[place])
                places += (2 * place + 1, 2 * place + 2)
        return found

    def _is_current(self, due_ms: int, event_id: int) -> bool:
        item = self.get(event_id)
        return item is not None and item.next_due_ms() == due_ms

    # -- Mapping, without a detour for what is asked often

    def __getitem__(self, event_id: int) -> ItemT:
        if self._items is None:
            raise KeyError(event_id)
        return self._items[event_id]

    def get(self, event_id: int, default: ItemT | None = None) -> ItemT | None:  # type: ignore[override]
        """See Mapping."""
        return self._items.get(event_id, default) if self._items else default

    def __contains__(self, event_id: object) -> bool:
        return self._items is not None and event_id in self._items

    def __iter__(self) -> Iterator[int]:
        return iter(self._items or ())

    def __len__(self) -> int:
        return len(self._items) if self._items else 0

    def items(self) -> ItemsView[int, ItemT]:
        """See Mapping."""
        return (self._items or {}).items()

    def values(self) -> ValuesView[ItemT]:
        """See Mapping."""
        return (self._items or {}).values()
