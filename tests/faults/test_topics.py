"""Topics that somebody alters, empties, resizes or makes anew (rows B1 B2 K8)."""

import time

import pytest

from kit import raw
from kit.namespace import Namespace, Namespaces, kill
from kit.row import Row

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.row, pytest.mark.timeout(400)]

PARTITIONS = 4


def a_used_namespace(bank: Namespace) -> None:
    """A namespace with some transfers, whose owner is gone."""
    owner, worker = bank.owner(), bank.worker()
    load = bank.load(20, 20)
    bank.until(lambda: load.poll() is not None, "the load's end")
    kill(owner)
    kill(worker)


def test_commands_that_were_deleted_above_the_watermark_stop_the_partition_and_are_never_skipped(bank: Namespace, row: Row) -> None:
    row.injects("B1", "DeleteRecords on commands past the watermark while no owner runs")
    a_used_namespace(bank)
    stricken = 1
    before = raw.ends(bank, "commands")
    load = bank.load(40, 40, first=100)
    bank.until(lambda: raw.ends(bank, "commands")[stricken] >= before[stricken] + 4, "commands that nobody has seen")
    kill(load)
    end = raw.ends(bank, "commands")[stricken]
    raw.delete_records(bank, "commands", stricken, end - 1)
    row.injected(end - 1 - before[stricken])
    owner = bank.owner()
    bank.until(lambda: f"partition {stricken} stopped" in bank.said(owner), "the alarm", 60)
    bank.until_leading(owner, PARTITIONS - 1)
    history = raw.ends(bank)[stricken]
    time.sleep(5)
    assert raw.ends(bank)[stricken] == history, "something was appended behind a loss"
    assert owner.poll() is None


def test_history_that_was_deleted_under_an_owner_stops_the_partition(bank: Namespace, row: Row) -> None:
    row.injects("K8", "DeleteRecords on history by hand, owner started on an empty store")
    a_used_namespace(bank)
    raw.delete_records(bank, "history", 3, raw.ends(bank)[3] // 2)
    row.injected()
    owner = bank.owner("fresh")
    bank.until(lambda: "partition 3 stopped" in bank.said(owner), "the alarm", 60)
    bank.until_leading(owner, PARTITIONS - 1)
    assert owner.poll() is None


@pytest.mark.parametrize(
    ("topic", "settings"),
    [
        ("history", {"cleanup_policy": "compact"}),
        ("history", {"retention_ms": "1000"}),
        ("history", {"message_timestamp_type": "CreateTime"}),
    ],
)
def test_unsafe_settings_are_refused_at_the_start_and_noticed_at_run_time(
    bank: Namespace, row: Row, topic: str, settings: dict[str, str]
) -> None:
    row.injects("K8", f"{settings} on {topic} at run time, another owner waiting")
    first = bank.owner("first")
    bank.until_leading(first, PARTITIONS)
    bank.worker()
    load = bank.load(20, 20)
    bank.until(lambda: load.poll() is not None, "the load's end")
    waiting = bank.owner("waiting")
    bank.until_leading(waiting, 2)
    raw.alter(bank, topic, **settings)
    row.injected()
    bank.until(lambda: "must be" in bank.said(first), "an alarm of an owner that runs", 90)
    (setting,) = settings
    refused = bank.owner("late")
    assert refused.wait(60) != 0
    assert f"{setting.replace('_', '.')}=" in bank.said(refused)
    claimed = bank.said(waiting).count("leading with claim")
    kill(first)
    time.sleep(13)
    assert bank.said(waiting).count("leading with claim") == claimed, "a partition was claimed although its topics are unsafe"


def test_partitions_that_were_added_are_refused(bank: Namespace, row: Row) -> None:
    row.injects("B2", "partitions added to commands and history")
    a_used_namespace(bank)
    for topic in ("commands", "history"):
        raw.add_partitions(bank, topic, 6)
        row.injected()
    owner = bank.owner()
    assert owner.wait(60) != 0
    assert "was made with 4 partitions" in bank.said(owner), bank.said(owner)


def test_a_topic_that_was_made_anew_under_an_owner_is_refused(bank: Namespace, row: Row) -> None:
    row.injects("B2", "commands deleted and made anew")
    a_used_namespace(bank)
    history = raw.ends(bank)
    raw.delete_topic(bank, "commands")
    row.injected()
    time.sleep(1)
    bank.typed("namespace", "create", bank.name, "--partitions", str(PARTITIONS))
    owner = bank.owner()
    assert owner.wait(60) != 0
    assert "made anew" in bank.said(owner), bank.said(owner)
    assert raw.ends(bank) == history


def test_histories_that_were_copied_to_other_topics_are_refused(bank: Namespace, namespaces: Namespaces, row: Row) -> None:
    row.injects("B2", "all records of commands and history mirrored into another namespace's topics, behind one record more")
    a_used_namespace(bank)
    mirror = namespaces()
    for topic in ("commands", "history"):
        for partition in range(PARTITIONS):
            values = [record.value for record in raw.read(bank, topic, partition)]
            raw.append(mirror, topic, partition, values[:1] + values if topic == "history" else values)
            row.injected(len(values))
    history = raw.ends(mirror)
    owner = mirror.owner()
    mirror.until(lambda: mirror.said(owner).count(" stopped") >= PARTITIONS or owner.poll() is not None, "the alarms", 60)
    assert "topic" in mirror.said(owner)
    assert "leading with claim" not in mirror.said(owner)
    assert raw.ends(mirror) == history, "something was appended behind what was mirrored"
