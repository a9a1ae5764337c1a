"""Who holds which partition of a group, for the logs that share them out themselves (memory and SQLite). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def share_out(partitions: int, members: Sequence[str], held: Mapping[int, str]) -> dict[int, str]:
    """The member that should hold each partition: even to within one, and moving as few as can be.

    `members` in the order in which they joined; `held` may name members that are gone. The same input gives every member the same answer.
    """
    if not members:
        return {}
    holdings: dict[str, list[int]] = {member: [] for member in members}
    for partition in range(partitions):
        if held.get(partition) in holdings:
            holdings[held[partition]].append(partition)
    # Those that hold most keep the odd ones, or a partition would move for nothing.
    by_holding = sorted(members, key=lambda member: -len(holdings[member]))
    share, odd = divmod(partitions, len(members))
    quota = {member: share + (1 if index < odd else 0) for index, member in enumerate(by_holding)}
    shares = {partition: member for member in members for partition in holdings[member][: quota[member]]}
    room = [member for member in members for _ in range(quota[member] - min(len(holdings[member]), quota[member]))]
    shares.update(zip((partition for partition in range(partitions) if partition not in shares), room, strict=True))
    return shares


def changes(member: str, partitions: int, members: Sequence[str], held: Mapping[int, str]) -> tuple[set[int], set[int]]:
    """What `member` should give up and what it may take now.

    A partition that another living member still holds is not taken: that one gives it up first, at its next poll.
    """
    shares = share_out(partitions, members, held)
    living = set(members)
    gives_up = {partition for partition, holder in held.items() if holder == member and shares.get(partition) != member}
    takes = {partition for partition, holder in shares.items() if holder == member and held.get(partition) not in living}
    return gives_up, takes
