"""Values that are passed on without being decoded."""

from dataclasses import dataclass

from perdure_schemas.payload import Payload


@dataclass(frozen=True, slots=True)
class RawValue:
    """A payload as it is on the wire; dynamic workflows, handlers and activities get these."""

    payload: Payload
