"""I13: what goes wrong with a command stays there."""

from __future__ import annotations

from collections import Counter, defaultdict

from perdure_check.facts import Arrived, Entry
from perdure_check.live import CLAIM, COMMIT
from perdure_check.poison import FORGED, can_be_forged, poison
from perdure_check.rules.base import Rule

_JUDGED = frozenset({"undecodable", "unknown_format", "invalid_workflow_id", "wrong_partition"})


class Isolation(Rule):
    """The dead letters of live records are exactly the commands that cannot be used, as far as that shows in their bytes."""

    invariant = "I13"
    title = "isolation"

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._letters: dict[int, dict[int, str]] = defaultdict(dict)
        self._format_levels: dict[int, int] = defaultdict(lambda: 1)
        self._reasons: Counter[str] = Counter()
        self._applied: dict[int, set[int]] = defaultdict(set)
        self._lenient = 0

    def entry(self, entry: Entry) -> None:
        """See Rule."""
        if entry.cause is not None:
            return
        if entry.kind == CLAIM:
            self._format_levels[entry.partition] = max(self._format_levels[entry.partition], entry.body["format_level"])
        if entry.kind == COMMIT:
            self._applied[entry.partition].update(entry.body["command_offsets"])
            for letter in entry.body["dead_letters"]:
                self._reasons[letter["reason"]] += 1
                if letter["source_topic"] == f"{self.context.namespace}.commands":
                    self._letters[letter["source_partition"]][letter["source_offset"]] = letter["reason"]

    def command(self, arrived: Arrived) -> None:
        """See Rule."""
        partition, offset = arrived.record.partition, arrived.record.offset
        begin = self.context.begins[partition].checkpoint
        positions = self.context.positions[partition]
        if offset > positions.watermark or (begin is not None and offset <= begin["watermark"]) or partition in self.context.stopped:
            return
        said = self._letters[partition].get(offset, "")
        right = poison(arrived, self.context.partitions, self._format_levels[partition])
        if right == "undecodable" and not said and offset in self._applied[partition]:
            self._lenient += 1  # the owner's library reads more than Avro allows
        elif right and not said:
            why = f" ({arrived.error})" if arrived.error is not None else ""
            self.breaks(f"the command at offset {offset} of partition {partition} is {right}{why}, and is no dead letter")
        elif (said in _JUDGED and not right) or (said == FORGED and not can_be_forged(arrived)):
            self.breaks(f"the command at offset {offset} of partition {partition} is a dead letter ({said}), and can be used")

    def finish(self) -> None:
        """See Rule."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self._reasons.items()))
        lenient = f"; {self._lenient} commands were applied that break the rules of Avro" if self._lenient else ""
        self.detail = f"dead letters: {reasons or 'none'}{lenient}; how fast neighbours were is not in the log"
