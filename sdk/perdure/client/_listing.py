"""Lists of runs: every partition answers for its own, and the pages are merged, newest start first."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncIterator
from datetime import timedelta

from perdure.client._requests import Requests
from perdure_schemas.commands import ListWorkflows
from perdure_schemas.replies import RunSummary, WorkflowsListed


class _Pages:
    """What one partition still has to give."""

    def __init__(self, requests: Requests, partition: int, query: str, page_size: int, timeout: timedelta | None) -> None:
        self._requests = requests
        self._partition = partition
        self._question = ListWorkflows(query, page_size)
        self._timeout = timeout
        self._finished = False
        self.rows: deque[RunSummary] = deque()

    async def fill(self) -> None:
        """Have a row at hand, unless there is none left."""
        while not self.rows and not self._finished:
            what = f"list of partition {self._partition}"
            page = await self._requests.read(what, "", self._question, WorkflowsListed, timeout=self._timeout, partition=self._partition)
            self.rows.extend(page.runs)
            self._finished = not page.next_page_token
            self._question = ListWorkflows(self._question.query, self._question.page_size, page.next_page_token)


async def list_runs(
    requests: Requests,
    query: str,
    *,
    page_size: int,
    limit: int | None,
    timeout: timedelta | None,  # noqa: ASYNC109 - it is that of each page
) -> AsyncIterator[RunSummary]:
    """The runs of a namespace that match `query`, newest start first; every partition must answer."""
    if limit is not None and limit <= 0:
        return
    if limit is not None:
        page_size = min(page_size, limit)
    partitions = [_Pages(requests, number, query, page_size, timeout) for number in range(requests.channel.partition_count)]
    await asyncio.gather(*(pages.fill() for pages in partitions))
    heads = [(-pages.rows[0].start_time_ms, number) for number, pages in enumerate(partitions) if pages.rows]
    heapq.heapify(heads)
    given = 0
    while heads and (limit is None or given < limit):
        _, number = heads[0]
        pages = partitions[number]
        yield pages.rows.popleft()
        given += 1
        await pages.fill()
        if pages.rows:
            heapq.heapreplace(heads, (-pages.rows[0].start_time_ms, number))
        else:
            heapq.heappop(heads)
