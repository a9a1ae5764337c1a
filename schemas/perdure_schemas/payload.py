"""User data on the wire: opaque bytes beside the metadata that tells a converter how to read them."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Payload:
    """One encoded value. `metadata["encoding"]` names the converter that can read `data`."""

    metadata: dict[str, bytes] = field(default_factory=dict)
    data: bytes = b""

    @property
    def size_bytes(self) -> int:
        """Bytes that count against the payload limit: the data and the metadata's values and names."""
        size = len(self.data)
        for name, value in self.metadata.items():
            size += len(name) + len(value)
        return size


Payloads = tuple[Payload, ...]
