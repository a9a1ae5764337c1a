from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kit.records import RECORDS
from perdure_schemas.codec import TOPIC_CODECS
from perdure_schemas.errors import CodecError

ALL = [(topic, record) for topic, records in RECORDS.items() for record in records.values()]


@settings(max_examples=300)
@given(case=st.sampled_from(ALL), position=st.integers(0, 10_000), byte=st.integers(0, 255), length=st.integers(0, 12))
def test_whatever_happens_to_bytes_they_are_a_record_or_a_codec_error(case: tuple[str, Any], position: int, byte: int, length: int) -> None:
    topic, record = case
    codec = TOPIC_CODECS[topic]
    data = bytearray(codec.encode(record))
    at = position % len(data)
    data[at : at + length] = bytes([byte]) * (length // 2 + 1)
    with suppress(CodecError):
        codec.encode(codec.decode(bytes(data)))


@settings(max_examples=200)
@given(case=st.sampled_from(ALL), data=st.binary(max_size=300))
def test_random_bytes_behind_a_right_header_are_a_record_or_a_codec_error(case: tuple[str, Any], data: bytes) -> None:
    topic, record = case
    codec = TOPIC_CODECS[topic]
    with suppress(CodecError):
        codec.decode(codec.encode(record)[:10] + data)
