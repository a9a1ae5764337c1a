"""The bound on what is in flight."""

from __future__ import annotations

import asyncio

import pytest

from perdure._room import Room


async def test_room_is_given_in_the_order_in_which_it_was_asked_for() -> None:
    room = Room(1, 100)
    await room.take(10)
    order: list[int] = []

    async def worker(number: int) -> None:
        await room.take(10)
        order.append(number)

    waiting = [asyncio.create_task(worker(number)) for number in range(3)]
    await asyncio.sleep(0)
    assert order == []
    for _ in range(3):
        room.give(10)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert order == [0, 1, 2]


async def test_bytes_are_bounded_as_well_as_records() -> None:
    room = Room(10, 100)
    assert room.try_take(60)
    assert not room.try_take(60)
    assert room.try_take(40)


async def test_what_is_larger_than_all_room_passes_alone() -> None:
    room = Room(10, 100)
    assert room.try_take(1_000)
    assert not room.try_take(1)
    room.give(1_000)
    assert room.try_take(1)


async def test_a_small_one_does_not_overtake_a_large_one_that_waits() -> None:
    room = Room(10, 100)
    await room.take(60)
    large = asyncio.create_task(room.take(90))
    await asyncio.sleep(0)
    assert not room.try_take(1)
    room.give(60)
    await large


async def test_a_waiter_that_is_cancelled_does_not_keep_the_others_out() -> None:
    room = Room(10, 100)
    await room.take(60)
    large, small = asyncio.create_task(room.take(90)), asyncio.create_task(room.take(10))
    await asyncio.sleep(0)
    large.cancel()
    with pytest.raises(asyncio.CancelledError):
        await large
    await small
    room.give(60)
    room.give(10)
    assert room.try_take(100)


async def test_a_waiter_cancelled_in_the_step_that_admits_it_gives_its_room_back() -> None:
    room = Room(1, 100)
    await room.take(1)
    waiter = asyncio.create_task(room.take(1))
    await asyncio.sleep(0)
    room.give(1)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert room.try_take(1)
