"""A process of its own that asks a cluster for the members of a group by the KIP-848 protocol: `python -m perdure._log.kafka.newer_groups`.

Only the admin client can ask that, and where the group's coordinator cannot be had before the request times out, the library ends the
process (librdkafka issues 3663 and 4605). So it is a process that nobody else needs. It reads settings, group and time from stdin, and
prints the members, all as JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from confluent_kafka.admin import AdminClient


def main() -> None:
    """Answer what stands on stdin."""
    asked = json.load(sys.stdin)
    group, timeout_s = asked["group"], asked["timeout_s"]
    settings: Any = asked["settings"]
    client = AdminClient(settings)  # it must outlive its future, which nobody would complete
    found = client.describe_consumer_groups([group], request_timeout=timeout_s)[group].result(timeout_s + 1)
    members = []
    for member in found.members:
        places = member.assignment.topic_partitions if member.assignment else []
        members.append([member.member_id, member.host, [[place.topic, place.partition] for place in places]])
    sys.stdout.write(json.dumps(members))


if __name__ == "__main__":
    main()
