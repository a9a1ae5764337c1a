"""A process that writes batches to a store until it is killed: `python -m kit.store_process DIRECTORY`.

Prints `<n>` after batch n. Batch n sets the row `last` to n and one of a hundred rows to n, so what is left shows which batches are in it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import count
from pathlib import Path

from perdure_platform.store.rocks import RocksStores


def batch(number: int) -> Mapping[bytes, bytes]:
    """What batch `number` writes."""
    return {b"last": b"%d" % number, b"row%02d" % (number % 100): b"%d" % number, b"padding": bytes(20_000)}


def main(directory: Path) -> None:
    """Write for ever."""
    store = RocksStores(directory).open(0)
    for number in count(1):
        store.write(batch(number))
        print(number, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
