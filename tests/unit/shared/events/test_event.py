"""Events: spliced, decoded, refused."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Malformed
from shared.events.event import (
    Envelope,
    MalformedEvent,
    channel,
    check_data,
    decode,
    encode,
    json_string,
    text_of,
    validate,
    wrap,
)

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TIME = b"2026-01-02T03:04:05.678Z"


def spliced(data: bytes = b'{"n":1}', subject: str = "4711", place: str | None = "orders.eu") -> bytes:
    envelope = Envelope("/sources/orders", "order.updated", None if place is None else channel(place))
    return wrap(envelope.head(), json_string("orders:1"), json_string(subject), TIME, TRACE, data)


def minimal(**extra: object) -> bytes:
    return json.dumps({"specversion": "1.0", "id": "1", "source": "/s", "type": "t", **extra}).encode()


def test_a_spliced_event_is_a_cloudevent() -> None:
    assert json.loads(spliced()) == {
        "specversion": "1.0",
        "source": "/sources/orders",
        "type": "order.updated",
        "channel": "orders.eu",
        "datacontenttype": "application/json",
        "id": "orders:1",
        "subject": "4711",
        "time": "2026-01-02T03:04:05.678Z",
        "traceparent": TRACE.decode(),
        "data": {"n": 1},
    }
    validate(decode(spliced()))


def test_without_a_channel_the_attribute_is_absent() -> None:
    assert "channel" not in json.loads(spliced(place=None))


@given(st.text())
def test_any_subject_survives(subject: str) -> None:
    if "\ud800" <= max(subject, default="a") <= "\udfff":
        return
    assert json.loads(spliced(subject=subject))["subject"] == subject


@pytest.mark.parametrize("number", ["9007199254740993", "1e400", "0.1000", "-0"])
def test_numbers_keep_their_text_through_decode_and_encode(number: str) -> None:
    value = spliced(data=b'{"n": %b}' % number.encode())
    assert encode(decode(value)) == value


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
def test_a_required_attribute_that_is_missing_or_empty_is_named(name: str) -> None:
    event = json.loads(minimal())
    del event[name]
    with pytest.raises(MalformedEvent, match=name):
        decode(json.dumps(event).encode())
    with pytest.raises(MalformedEvent, match=f"attribute '{name}' is missing or empty"):
        decode(json.dumps({**event, name: ""}).encode())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b'{"specversion":"1.0"', "not a JSON object"),
        (b"\xff\xfe", "not a JSON object"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not a JSON object"),
        (minimal(id=7), "'id' is not a string"),
        (minimal(specversion="0.3"), "specversion"),
    ],
)
def test_bytes_that_are_not_an_event_are_refused(value: bytes, said: str) -> None:
    with pytest.raises(MalformedEvent, match=said):
        decode(value)


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"Upper": "x"}, "'Upper'"),
        ({"with-dash": "x"}, "'with-dash'"),
        ({"ratio": 1.5}, "'ratio'"),
        ({"nested": {}}, "'nested'"),
        ({"nothing": None}, "'nothing'"),
        ({"data": 1, "data_base64": "AA=="}, "exclude"),
        ({"subject": 5}, "'subject'"),
        ({"traceparent": "00-zz"}, "traceparent"),
        ({"traceparent": f"00-{'0' * 32}-{'1' * 16}-01"}, "traceparent"),
        ({"channel": "a..b"}, "channel"),
    ],
)
def test_the_malformed_attribute_of_a_foreign_event_is_named(extra: dict[str, object], said: str) -> None:
    with pytest.raises(Malformed, match=said):
        validate(decode(minimal(**extra)))


@pytest.mark.parametrize("value", [b"1e400", b'"\xff"', b'{"a":1e400}'])
def test_an_extension_that_cannot_be_read_is_named(value: bytes) -> None:
    with pytest.raises(Malformed, match=r"'ext': found .* expected text, a boolean or an integer"):
        validate(decode(minimal()[:-1] + b',"ext":' + value + b"}"))


def test_extensions_of_the_permitted_types_pass() -> None:
    validate(decode(minimal(tenant="a", attempt=3, last=True, data=[1.5, None])))


@given(
    st.binary()
    | st.recursive(st.none() | st.text(), lambda inner: st.dictionaries(st.text(), inner)).map(repr).map(str.encode)
)
def test_any_bytes_are_an_event_or_malformed(value: bytes) -> None:
    with contextlib.suppress(Malformed):
        validate(decode(value))


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a b", "a/b", "ä", "a\n", "x" * 201])
def test_a_channel_is_dotted_words(name: str) -> None:
    with pytest.raises(Malformed, match="channel"):
        channel(name)


def test_text_of_an_absent_attribute_is_none() -> None:
    assert text_of(decode(minimal()), "subject") is None


def test_data_that_strict_readers_refuse_is_named() -> None:
    check_data(b'{"a":1e300}')
    with pytest.raises(MalformedEvent, match=r"data: a, byte 5: found the number 1e400"):
        check_data(b'{"a":1e400}')
