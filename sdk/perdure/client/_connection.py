"""What a client shares with its handles."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from perdure._channel import Channel
from perdure._log.port import Headers
from perdure.client._requests import Requests
from perdure.converter import DataConverter
from perdure_schemas.commands import CommandBody
from perdure_schemas.replies import Accepted


@dataclass(frozen=True, slots=True)
class Connection:
    """A line to a namespace, and how values and this process are named on it."""

    channel: Channel
    requests: Requests
    identity: str
    data_converter: DataConverter

    @property
    def namespace(self) -> str:
        """The namespace."""
        return self.channel.namespace

    async def act(
        self,
        what: str,
        workflow_id: str,
        body: CommandBody,
        timeout: timedelta | None,  # noqa: ASYNC109 - it is kept across copies
        request_id: str | None = None,
        headers: Headers = (),
    ) -> None:
        """Ask for something to be done that has no result; `request_id` is given where the caller chose it."""
        name = request_id or self.requests.new_request_id()
        with self.requests.listen(name) as replies:
            await self.requests.act(
                what,
                workflow_id,
                body,
                (Accepted,),
                replies,
                request_id=name,
                named=request_id is not None,
                timeout=timeout,
                headers=headers,
            )
