"""Records of another build, or of none: commands cut off anywhere, events and schemas that are not known yet (rows D1 D2)."""

import io
import random
import time
from typing import Any

import fastavro
import pytest

from kit import raw
from kit.namespace import Namespace, kill
from kit.records import RECORDS
from kit.row import Row
from perdure_schemas import codec
from perdure_schemas.codec import encode_command, encode_history
from perdure_schemas.commands import Command, Origin, SignalWorkflow
from perdure_schemas.history import ClaimedRecord, CommitRecord
from perdure_schemas.placement import partition_of

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]

PARTITIONS = 4
STRICKEN = 2


def test_a_command_of_any_kind_cut_off_at_any_byte_is_a_dead_letter(bank: Namespace, row: Row) -> None:
    row.injects("D1", "commands of four kinds cut off at every byte, with a byte flipped, and behind the header of another topic")
    transfers, chance = 200, random.Random(11)
    owner = bank.owner()
    bank.worker()
    load = bank.load(transfers, 20, per_second=10)
    bank.until_done(10)
    whole = [encode_command(command) for command in RECORDS["commands"].values()]
    poison = [value[:size] for value in whole for size in range(len(value))]
    poison += [encode_history(record) for record in RECORDS["history"].values()]
    poison += [value[:2] + chance.randbytes(8) + value[10:] for value in whole]
    with row.fault(bank):
        for partition in range(PARTITIONS):
            raw.append(bank, "commands", partition, poison[partition::PARTITIONS])
        row.injected(len(poison))
        bank.until_done(bank.done() + 20)
    bank.finish(load, transfers)
    assert owner.poll() is None
    bank.until(lambda: len(raw.read(bank, "dead-letters", 0)) >= len(poison), "a dead letter for each")
    letters = [codec.decode_dead_letter(record.value) for record in raw.read(bank, "dead-letters", 0)]
    assert sorted(letter.value for letter in letters) == sorted(poison)
    assert row.during > 0


def newer(record: ClaimedRecord) -> bytes:
    """A history record as the next version of its schema would write it: with a field that this build has never heard of."""
    mine = codec.TOPIC_CODECS["history"]
    name = type(record).__name__

    def grown(schema: Any) -> Any:
        if isinstance(schema, list):
            return [grown(one) for one in schema]
        if isinstance(schema, dict) and schema.get("name", "").endswith(name):
            return {**schema, "fields": [*schema["fields"], {"name": "from_the_future", "type": "long", "default": 0}]}
        return schema

    schema = grown(mine.schema)
    assert schema != mine.schema
    out = io.BytesIO(codec.MAGIC + codec._fingerprint(schema))
    out.seek(0, io.SEEK_END)
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), mine._to_avro(record))
    return out.getvalue()


@pytest.mark.parametrize("kind", ["history of a newer schema", "a command of a newer format from another partition"])
def test_what_a_newer_build_has_written_stops_its_partition_and_is_never_skipped(bank: Namespace, row: Row, kind: str) -> None:
    row.injects("D2", kind)
    owner = bank.owner()
    bank.worker()
    bank.until_leading(owner, PARTITIONS)
    load = bank.load(400, 10, per_second=10)
    bank.until_done(20)
    if kind == "history of a newer schema":
        numbered = [decoded for _, decoded in raw.history(bank, STRICKEN) if isinstance(decoded, CommitRecord)]
        raw.append(bank, "history", STRICKEN, [newer(numbered[-1])])
    else:
        workflow_id = next(name for name in map(str, range(100)) if partition_of(name, PARTITIONS) == STRICKEN)
        newest = Command(workflow_id, SignalWorkflow("new"), origin=Origin(0, 1 << 40, 0), format_level=99)
        raw.append(bank, "commands", STRICKEN, [encode_command(newest)])
        (at,) = [record.offset for record in raw.read(bank, "commands", STRICKEN) if record.value == encode_command(newest)]
    row.injected()
    bank.until(lambda: f"partition {STRICKEN} stopped" in bank.said(owner), "the alarm")
    assert "newer build" in bank.said(owner)
    end = raw.ends(bank)[STRICKEN]
    letters = len(raw.read(bank, "dead-letters", 0))
    kill(owner)
    owner = bank.owner("another")  # a process that begins there comes to the same
    bank.until(lambda: f"partition {STRICKEN} stopped" in bank.said(owner), "the alarm of the next one")
    bank.until_leading(owner, PARTITIONS - 1)
    time.sleep(2)
    if kind == "history of a newer schema":
        assert raw.ends(bank)[STRICKEN] == end, "something was appended behind what nobody could read"
    else:
        recorded = [getattr(decoded, "watermark", None) or -1 for _, decoded in raw.history(bank, STRICKEN)]
        assert max(recorded) < at, "a command that nobody could read counts as settled"
    assert len(raw.read(bank, "dead-letters", 0)) == letters, "what a newer build can read was thrown away"
    for name in [name for name in (f"neighbour-{number}" for number in range(8)) if partition_of(name, PARTITIONS) != STRICKEN]:
        bank.command("workflow", "start", "Account", "-q", "work", "-i", "{}", "--id", name)
        row.during += 1
    assert owner.poll() is None
    kill(load)
