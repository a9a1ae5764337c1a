"""Workflow code whose handlers are set while it runs."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from perdure import workflow
from perdure.common import RawValue

seen: list[Any] = []


@dataclass
class Order:
    name: str
    data: bytes = b""


class Counter:
    """An object that can be called."""

    def __call__(self, order: Order) -> None:
        seen.append(order)


def note(label: str, order: Order) -> None:
    seen.append((label, order))


@workflow.defn(name="Flow")
class AtRunTime:
    @workflow.run
    async def run(self) -> None:
        self.over = False
        workflow.set_signal_handler("order", self.order)
        workflow.set_signal_handler("several", self.several)
        workflow.set_signal_handler("object", Counter())
        workflow.set_signal_handler("partial", functools.partial(note, "p"))
        workflow.set_signal_handler("plain", lambda order: seen.append(order))
        workflow.set_query_handler("find", self.find)
        await workflow.wait_condition(lambda: self.over)

    async def order(self, order: Order) -> None:
        seen.append(order)

    def several(self, *orders: Order) -> None:
        seen.extend(orders)

    def find(self, order: Order, times: int = 1) -> list[Order]:
        seen.append(order)
        return [order] * times


@workflow.defn(name="Flow")
class Dynamic:
    """Raw values at first; decoded ones once it is told to."""

    @workflow.run
    async def run(self) -> None:
        workflow.set_dynamic_signal_handler(self.raw)
        workflow.set_dynamic_query_handler(self.answer)
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    def change(self) -> None:
        seen.append((workflow.get_dynamic_signal_handler() == self.raw, workflow.get_dynamic_query_handler() == self.answer))
        workflow.set_dynamic_signal_handler(self.decoded)
        seen.append(workflow.get_dynamic_signal_handler() == self.decoded)

    def raw(self, name: str, args: Sequence[RawValue]) -> None:
        seen.append((name, [workflow.payload_converter().from_payload(arg.payload, Order) for arg in args]))

    def decoded(self, name: str, *args: Order) -> None:
        seen.append((name, args))

    def answer(self, name: str, *args: Any) -> Any:
        return [name, *args]


@workflow.defn(name="Flow")
class Later:
    """Its annotations name what the module defines below."""

    @workflow.run
    async def run(self, below: "Below") -> "Below":
        seen.append(below)
        await workflow.wait_condition(lambda: len(seen) > 1)
        return below

    @workflow.signal
    def more(self, below: "Below") -> None:
        seen.append(below)


@workflow.defn(name="Flow")
class Wrong:
    @workflow.run
    async def run(self) -> None:
        workflow.set_dynamic_signal_handler(self.handle)

    def handle(self, name: str, order: Order) -> None: ...


@workflow.defn(name="Flow")
class Unwritable:
    @workflow.run
    async def run(self, order: Order) -> object:
        return object()


@dataclass
class Below:
    x: int
