"""Stage 0: append a Claim and read until it counts, or does not (design.md 3.1, R1, R2).

A claim names the claim that its writer has read as the one in force. Whoever reads its own claim as live, with nothing claimed after it,
leads; a rival that came second, or a copy, is dead, and its writer starts over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from perdure._log.port import Record
from perdure_platform.partition.confirm import Retired
from perdure_platform.partition.decode import FORMAT_LEVEL
from perdure_platform.partition.rebuild import Rebuild, Topics
from perdure_schemas.codec import encode_history
from perdure_schemas.history import Claim
from perdure_schemas.live import LiveState


@dataclass(frozen=True, slots=True)
class Identity:
    """Who claims: shown to operators, decides nothing but what it can read."""

    owner: str
    host: str
    process_id: int
    build: str
    instance_id: str
    """New with each start of a process; tells a process that claims again from the one after it."""
    reads_format_level: int = FORMAT_LEVEL


class Claiming:
    """One attempt to take a partition."""

    def __init__(
        self,
        topics: Topics,
        identity: Identity,
        claim_id: str,
        live: LiveState,
        time_ms: int,
        send: Callable[[bytes | None, bytes], None],
    ) -> None:
        self.claim = Claim(
            claim_number=live.claim_number + 1,
            claim_id=claim_id,
            previous_claim_id=live.claim_id,
            owner=identity.owner,
            host=identity.host,
            process_id=identity.process_id,
            build=identity.build,
            format_level=identity.reads_format_level,
            commands_topic_id=topics.commands_topic_id,
            history_topic_id=topics.history_topic_id,
            partition_count=topics.partition_count,
            time_ms=time_ms,
            instance_id=identity.instance_id,
        )
        self._value = encode_history(self.claim)
        send(None, self._value)

    def take(self, records: Sequence[Record], rebuild: Rebuild, live: Callable[[], LiveState]) -> Record | None:
        """Fold what was read; the claim's own record once it counts, None while it has not been seen. Raises Retired."""
        rebuild.fold(records)
        own = next((record for record in records if record.value == self._value), None)
        if own is None:
            return None
        if live().claim_id != self.claim.claim_id:
            raise Retired(f"claim {self.claim.claim_number} lost against a rival")
        return own
