"""The pair of converters that a client, an owner and a worker share."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from typing import ClassVar

from perdure._foreign_options import CONVERTER, sift
from perdure.converter._failure import DefaultFailureConverter, FailureConverter
from perdure.converter._payload import DefaultPayloadConverter, PayloadConverter


@dataclass(frozen=True)
class DataConverter:
    """How values and errors are written. Client, owner and worker of a namespace must use the same.

    A class that is given makes its converter. `payload_codec` and `external_storage` are known from Temporal's SDK; only None is possible.
    """

    payload_converter: PayloadConverter = field(default_factory=DefaultPayloadConverter)
    failure_converter: FailureConverter = field(default_factory=DefaultFailureConverter)
    payload_converter_class: InitVar[type[PayloadConverter] | None] = None
    failure_converter_class: InitVar[type[FailureConverter] | None] = None
    payload_codec: InitVar[None] = None
    external_storage: InitVar[None] = None
    default: ClassVar[DataConverter]

    def __post_init__(
        self,
        payload_converter_class: type[PayloadConverter] | None,
        failure_converter_class: type[FailureConverter] | None,
        payload_codec: None,
        external_storage: None,
    ) -> None:
        sift("DataConverter", {"payload_codec": payload_codec, "external_storage": external_storage}, CONVERTER)
        if payload_converter_class is not None:
            object.__setattr__(self, "payload_converter", payload_converter_class())
        if failure_converter_class is not None:
            object.__setattr__(self, "failure_converter", failure_converter_class())
        for name, kind in (("payload_converter", PayloadConverter), ("failure_converter", FailureConverter)):
            if not isinstance(getattr(self, name), kind):
                raise TypeError(
                    f"{name} is {getattr(self, name)!r}, and must be a {kind.__name__}: give an instance, or its class as {name}_class"
                )


DataConverter.default = DataConverter()


def default() -> DataConverter:
    """The converter that is used where none is given."""
    return DataConverter.default
