"""Fetch requests and responses on the wire, beside those that aiokafka makes of the schemas of version 12."""

import struct
from io import BytesIO
from typing import Any

import pytest
from aiokafka.protocol.types import Int32
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.kafka.wire.fetch import FetchedPartition, FetchPosition, FetchResponse, fetch
from tests.unit.shared.bus.kafka.wire.fetch_schemas import SchemaRequest, SchemaResponse, Tags


def ints(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


positions = st.builds(FetchPosition, ints(64), ints(32), ints(32))
tags = st.dictionaries(st.integers(1, 300), st.binary(max_size=200), max_size=3)
"""Fields that a broker of a newer version may add. Brokers send them in the order of their tags."""
partitions = st.tuples(
    ints(32),
    ints(16),
    ints(64),
    ints(64),
    ints(64),
    st.none() | st.lists(st.tuples(ints(64), ints(64), tags), max_size=3),
    ints(32),
    st.none() | st.binary(max_size=300),
    tags,
    st.none() | st.tuples(ints(32), ints(64)),
)


@given(
    st.text(max_size=200),
    st.dictionaries(ints(32), positions, max_size=200),
    ints(32),
    ints(32),
    ints(31),
    st.text(max_size=50),
)
def test_a_request_is_encoded_as_aiokafka_does(
    topic: str, wanted: dict[int, FetchPosition], max_bytes: int, partition_max_bytes: int, number: int, client: str
) -> None:
    ours = fetch(topic, wanted.items(), wait=0.5, max_bytes=max_bytes, partition_max_bytes=partition_max_bytes)
    listed: list[tuple[Any, ...]] = [
        (partition, each.leader_epoch, each.offset, each.fetched_epoch, -1, partition_max_bytes, {})
        for partition, each in wanted.items()
    ]
    theirs = SchemaRequest(-1, 500, 1, max_bytes, 1, 0, -1, [(topic, listed, {})], [], "", {})
    form = ours.prepare({1: (4, 17)})
    assert form.build_request_header(number, client).encode() == theirs.build_request_header(number, client).encode()
    assert form.encode() == theirs.encode()


def encoded(topics: list[tuple[str, list[tuple[Any, ...]], dict[int, bytes]]], code: int, number: int) -> bytes:
    """Return a response with its header."""
    listed = [
        (
            topic,
            [
                (*each[:8], each[8] | ({} if each[9] is None else {0: struct.pack(">iqB", *each[9], 0)}))
                for each in found
            ],
            last,
        )
        for topic, found, last in topics
    ]
    message: bytes = Int32.encode(number) + Tags.encode({7: b"new"}) + SchemaResponse(0, code, 0, listed, {}).encode()
    return message


def decoded(message: bytes) -> tuple[int, FetchResponse]:
    """Decode a response as aiokafka's connection does."""
    request = fetch("t", [], wait=0.5, max_bytes=1, partition_max_bytes=1).prepare({1: (4, 17)})
    data = BytesIO(message)
    number = request.parse_response_header(data).correlation_id
    return number, request.RESPONSE_TYPE.decode(data)


topics = st.lists(st.tuples(st.text(max_size=200), st.lists(partitions, max_size=4), tags), max_size=2)


@given(topics, ints(16), ints(32))
def test_a_response_is_decoded_as_aiokafka_does(
    sent: list[tuple[str, list[tuple[Any, ...]], dict[int, bytes]]], code: int, number: int
) -> None:
    message = encoded(sent, code, number)
    theirs = SchemaResponse.decode(BytesIO(message[4 + len(Tags.encode({7: b"new"})) :]))
    found = [
        FetchedPartition(
            partition,
            error,
            high,
            stable,
            [(producer, first) for producer, first, _ in aborted or ()],
            records or b"",
            struct.unpack_from(">iq", left[0])[1] if 0 in left else None,
        )
        for _, listed, _ in theirs.topics
        for partition, error, high, stable, _, aborted, _, records, left in listed
    ]
    assert decoded(message) == (number, FetchResponse(theirs.error_code, found))


def test_a_truncated_response_is_an_error() -> None:
    """Records that are cut would be taken for an incomplete batch at the end of a response, which is normal."""
    partition = (3, 0, 9, 8, 0, [(1, 2, {5: b"x"})], -1, b"r" * 200, {4: b"new"}, (3, 2**40))
    message = encoded([("t", [partition], {1: b"x"})], 0, 1)
    assert decoded(message)[1].partitions[0].diverging_offset == 2**40
    for size in range(len(message)):
        with pytest.raises((ValueError, IndexError, struct.error)):
            decoded(message[:size])


def test_a_response_with_an_error_has_no_topics() -> None:
    assert decoded(encoded([], 6, 4)) == (4, FetchResponse(6, []))
