"""The order of futures and tasks: that in which they were made."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import Any, TypeVar

F = TypeVar("F", bound="asyncio.Future[Any]")
T = TypeVar("T")


def made(future: object) -> int:
    """The place of `future` among all that its loop made; 0 for one that no workflow loop made."""
    place: int = getattr(future, "made", 0)
    return place


def in_order(futures: Iterable[T]) -> list[T]:
    """Each future once: as given, or as made where they were given in a set."""
    if isinstance(futures, set | frozenset):
        return sorted(futures, key=made)
    found = {id(future): future for future in futures}
    return list(found.values())


class TaskSet(set[F]):
    """A set of futures that iterates in the order in which they were made."""

    def __iter__(self) -> Iterator[F]:
        return iter(sorted(super().__iter__(), key=made))

    def pop(self) -> F:
        """Remove and return the member that was made first."""
        for member in self:
            self.remove(member)
            return member
        raise KeyError("pop from an empty set")

    def copy(self) -> TaskSet[F]:
        """Another set with the same members."""
        return TaskSet(self)

    def __and__(self, other: AbstractSet[object]) -> TaskSet[F]:
        return TaskSet(super().__and__(other))

    def __sub__(self, other: AbstractSet[object]) -> TaskSet[F]:
        return TaskSet(super().__sub__(other))

    def __or__(self, other: AbstractSet[Any]) -> TaskSet[Any]:
        return TaskSet(super().__or__(other))

    def __xor__(self, other: AbstractSet[Any]) -> TaskSet[Any]:
        return TaskSet(super().__xor__(other))

    def intersection(self, *others: Iterable[object]) -> TaskSet[F]:
        """See set."""
        return TaskSet(super().intersection(*others))

    def difference(self, *others: Iterable[Any]) -> TaskSet[F]:
        """See set."""
        return TaskSet(super().difference(*others))

    def union(self, *others: Iterable[Any]) -> TaskSet[Any]:
        """See set."""
        return TaskSet(super().union(*others))

    def symmetric_difference(self, other: Iterable[Any]) -> TaskSet[Any]:
        """See set."""
        return TaskSet(super().symmetric_difference(other))
