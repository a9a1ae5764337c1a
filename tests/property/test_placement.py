import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from perdure_schemas.placement import SLOTS, murmur2, partition_of, slot_of

KAFKA_VECTORS = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536, b"abc": 479470107}


def test_the_hash_is_that_of_kafkas_own_clients() -> None:
    for data, signed in KAFKA_VECTORS.items():
        assert murmur2(data) == signed & 0xFFFFFFFF


@given(st.text(min_size=1), st.integers(1, SLOTS))
def test_every_id_has_one_partition(workflow_id: str, count: int) -> None:
    try:
        workflow_id.encode()
    except UnicodeEncodeError:
        return
    assert 0 <= slot_of(workflow_id) < SLOTS
    assert 0 <= partition_of(workflow_id, count) < count


@given(st.integers(1, SLOTS))
def test_slots_of_a_partition_are_neighbours_and_evenly_shared(count: int) -> None:
    owners = [slot * count // SLOTS for slot in range(SLOTS)]
    assert owners == sorted(owners)
    sizes = [owners.count(partition) for partition in {0, count // 2, count - 1}]
    assert max(sizes) - min(sizes) <= 1


def test_the_published_vectors_hold() -> None:
    for vector in json.loads((Path(__file__).parents[2] / "schemas" / "golden" / "placement.json").read_text("utf-8")):
        workflow_id = vector["id"]
        found = (murmur2(workflow_id.encode()), slot_of(workflow_id), partition_of(workflow_id, 4), partition_of(workflow_id, 7))
        assert found == (vector["murmur2"], vector["slot"], vector["partition_of_4"], vector["partition_of_7"])
