"""Damage to the files of a broker that is down, and of a store: what bad disks, bad backups and bad operators do."""

from __future__ import annotations

from pathlib import Path

from kit.broker import Broker
from kit.namespace import Namespace

_HEAD = 12
"""Bytes of a record batch before what its length counts: the base offset, and the length."""


def segments(broker: Broker, namespace: Namespace, topic: str, partition: int) -> list[Path]:
    """The segment files of a partition, oldest first."""
    return sorted((broker.directory / "data" / f"{namespace.name}.{topic}-{partition}").glob("*.log"))


def batches(segment: Path) -> list[tuple[int, int]]:
    """Place and size of each record batch in a segment."""
    data = segment.read_bytes()
    found = []
    at = 0
    while at + _HEAD <= len(data):
        size = _HEAD + int.from_bytes(data[at + 8 : at + _HEAD], "big")
        if size == _HEAD or at + size > len(data):
            break
        found.append((at, size))
        at += size
    return found


def cut_tail(broker: Broker, namespace: Namespace, topic: str, partition: int, count: int) -> int:
    """Lose the newest `count` batches, as a power cut or an unclean election does; returns how many were lost. The broker is down."""
    newest = segments(broker, namespace, topic, partition)[-1]
    lost = batches(newest)[-count:]
    with newest.open("r+b") as file:
        file.truncate(lost[0][0])
    for suffix in (".index", ".timeindex"):
        newest.with_suffix(suffix).unlink(missing_ok=True)
    for snapshot in newest.parent.glob("*.snapshot"):
        snapshot.unlink()
    return len(lost)


def remove_segment(broker: Broker, namespace: Namespace, topic: str, partition: int, number: int) -> None:
    """Lose a segment, the `number`-th from the oldest. The broker is down."""
    segment = segments(broker, namespace, topic, partition)[number]
    for suffix in (".log", ".index", ".timeindex"):
        segment.with_suffix(suffix).unlink(missing_ok=True)


def flip(file: Path, at: int, count: int = 1) -> None:
    """Turn every bit of `count` bytes of a file."""
    with file.open("r+b") as opened:
        opened.seek(at)
        found = opened.read(count)
        opened.seek(at)
        opened.write(bytes(byte ^ 0xFF for byte in found))
