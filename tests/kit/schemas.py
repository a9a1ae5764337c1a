"""Writes the next version of a topic's schema, and its golden bytes, after its dataclasses have changed:

python -m kit.schemas   (with tests/ on PYTHONPATH)

Only fields with defaults may be added. A released version is never edited; before a release, delete the newest file and write it again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import perdure_schemas
from kit.records import RECORDS
from perdure_schemas.codec import TOPIC_CODECS, released_schemas

GOLDEN = Path(__file__).parents[2] / "schemas" / "golden"
FOLDER = Path(perdure_schemas.__file__).parent / "avro"


def newest(topic: str) -> tuple[int, Any]:
    """Number and content of a topic's newest schema; 0 if there is none."""
    versions = released_schemas(topic)
    return max(versions.items(), default=(0, None))


def main() -> None:
    """Write what is missing."""
    for topic, codec in TOPIC_CODECS.items():
        number, schema = newest(topic)
        if schema != codec.schema:
            place = FOLDER / topic / f"v{number + 1}.avsc"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(json.dumps(codec.schema, indent=1) + "\n", encoding="utf-8")
            print("wrote", place.relative_to(FOLDER))
            golden = GOLDEN / f"v{number + 1}"
            golden.mkdir(parents=True, exist_ok=True)
            for name, record in RECORDS[topic].items():
                (golden / f"{topic}-{name}.bin").write_bytes(codec.encode(record))


if __name__ == "__main__":
    main()
