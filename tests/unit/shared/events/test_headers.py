"""The headers of a record, as Trelay reads them and as the official SDK of CloudEvents does."""

import json

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event
from hypothesis import given
from hypothesis import strategies as st

from shared.events.event import Envelope, MalformedEvent, channel, json_string, wrap
from shared.events.headers import (
    CONTENT_TYPE,
    PROVENANCE,
    Provenance,
    headers_of,
    packed_provenance,
    provenance_in,
    unpack_provenance,
)


def test_the_official_sdk_reads_a_record() -> None:
    value = wrap(
        Envelope("/sources/orders", "order.updated", channel("orders.eu")).head(),
        json_string("orders:1"),
        json_string("C-1"),
        b"2026-01-02T03:04:05.678Z",
        b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        b'{"n":1}',
    )
    headers = dict(Provenance("orders", 1_767_323_045_678, "orders:1").headers())
    event = from_kafka_event(KafkaMessage(headers, b"orders.eu", value))
    assert event.get_data() == {"n": 1}
    for name, expected in json.loads(value).items():
        found = event.get_attributes().get(name) if name not in {"data", "time"} else expected
        assert found == expected, name


def test_the_headers_are_those_of_structured_mode() -> None:
    content_type, provenance = headers_of(b"orders 1 a")
    assert content_type == ("content-type", b"application/cloudevents+json; charset=UTF-8")
    # The official SDK takes a record with any `ce_` header for binary mode, and loses the event.
    assert not provenance[0].startswith("ce_")


@pytest.mark.parametrize("name", [PROVENANCE, "trail"])
def test_the_provenance_is_found_wherever_it_stands(name: str) -> None:
    for headers in ([(name, b"x")], [CONTENT_TYPE, (name, b"x")], [("other", b"y"), (name, b"x"), CONTENT_TYPE]):
        assert packed_provenance(headers) == b"x"
    assert packed_provenance([CONTENT_TYPE]) is None


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_provenance_keeps_any_id(identity: str) -> None:
    provenance = Provenance("orders", 1_767_323_045_678, identity)
    assert unpack_provenance(provenance.pack()) == provenance


@pytest.mark.parametrize(
    "value",
    [b"", b"orders", b"orders 12", b"orders x 1", b"\xff\xff", "orders ² 1".encode(), b"orders %b 1" % (b"9" * 5000)],
    ids=["empty", "source", "no id", "no time", "not text", "not a digit", "time out of range"],
)
def test_a_malformed_provenance_is_refused(value: bytes) -> None:
    with pytest.raises(MalformedEvent, match=f"header '{PROVENANCE}': found .*; expected 'source read_ms id'"):
        unpack_provenance(value)


def test_the_provenance_that_headers_name_if_it_can_be_read() -> None:
    assert provenance_in(headers_of(b"orders 1700000000000 orders:7")) == Provenance(
        "orders", 1700000000000, "orders:7"
    )
    assert provenance_in(headers_of(b"orders")) is None
    assert provenance_in([CONTENT_TYPE]) is None
