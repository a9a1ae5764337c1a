"""Groups as the medium in memory keeps them: leases, who holds what, what is committed."""

from __future__ import annotations

from dataclasses import dataclass, field

from perdure._log.port import DescribedMember
from perdure._log.sharing import changes


@dataclass(slots=True)
class _Lease:
    until_ms: float
    session_timeout_ms: int


@dataclass(slots=True)
class Group:
    """One group: its members in the order in which they joined, who holds what, and what is committed."""

    leases: dict[str, _Lease] = field(default_factory=dict)
    held: dict[int, str] = field(default_factory=dict)
    generations: dict[int, int] = field(default_factory=dict)
    """Per partition, how often it changed hands: fences the commits of a former holder."""
    committed: dict[int, int] = field(default_factory=dict)

    def beat(self, member: str, session_timeout_ms: int, partitions: int, now_ms: float) -> dict[int, int]:
        """Renew the member's lease, end those that have run out, and give and take. Returns what it holds, with generations."""
        self.leases = {name: lease for name, lease in self.leases.items() if name == member or lease.until_ms > now_ms}
        lease = self.leases.get(member)
        if lease is not None and lease.until_ms <= now_ms:
            self.leave(member)  # it slept through its lease: others may take over, and it begins anew behind them
        self.leases.setdefault(member, _Lease(0, session_timeout_ms)).until_ms = now_ms + session_timeout_ms
        gives_up, takes = changes(member, partitions, list(self.leases), self.held)
        for partition in gives_up:
            del self.held[partition]
        for partition in takes:
            self.held[partition] = member
            self.generations[partition] = self.generations.get(partition, 0) + 1
        return {partition: self.generations[partition] for partition, holder in self.held.items() if holder == member}

    def members(self, now_ms: float) -> tuple[DescribedMember, ...]:
        """Those whose leases run, in the order in which they joined."""
        return tuple(
            DescribedMember(
                name,
                "",
                tuple(sorted(partition for partition, holder in self.held.items() if holder == name)),
                round(now_ms - (lease.until_ms - lease.session_timeout_ms)),
            )
            for name, lease in self.leases.items()
            if lease.until_ms > now_ms
        )

    def leave(self, member: str) -> None:
        """Forget the member and what it holds."""
        self.leases.pop(member, None)
        self.held = {partition: holder for partition, holder in self.held.items() if holder != member}
