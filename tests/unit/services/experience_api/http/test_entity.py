import base64
import itertools
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, MultiDict

from services.experience_api.http.entity import Defaults, EntityOptions, Push, PushedEvent, parse_events, receipt
from services.experience_api.refusals import UNSUPPORTED_TYPE, Refused
from shared.errors import Malformed, TooLarge
from shared.events.headers import CONTENT_TYPE, PROVENANCE, unpack_provenance

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
WHOLE = {
    "specversion": "1.0",
    "id": "7",
    "source": "/shop",
    "type": "order.updated",
    "subject": "4711",
    "time": "2026-01-02T03:04:05Z",
    "channel": "orders.eu",
    "traceparent": TRACE,
    "data": {"total": 12.50},
}


def read(
    body: bytes | str | Any,
    content_type: str = STRUCTURED,
    query: str = "",
    headers: dict[str, str] | None = None,
    options: EntityOptions | None = None,
) -> list[PushedEvent]:
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    text = body if isinstance(body, bytes | str) else json.dumps(body)
    push = Push(
        CIMultiDict({"Content-Type": content_type, **(headers or {})}),
        MultiDict((name, value) for name, _, value in pairs),
        text.encode() if isinstance(text, str) else text,
    )
    ids = itertools.count(1)
    defaults = Defaults("2023-11-14T22:13:20.500Z", lambda: f"made-{next(ids)}", lambda: TRACE)
    return parse_events(push, defaults, options or EntityOptions())


def one(*arguments: Any, **keywords: Any) -> dict[str, Any]:
    (pushed,) = read(*arguments, **keywords)
    value: dict[str, Any] = json.loads(pushed.value)
    return value


def without(*names: str, **changed: Any) -> dict[str, Any]:
    return {name: value for name, value in (WHOLE | changed).items() if name not in names}


def test_a_structured_event_is_unaltered() -> None:
    (pushed,) = read(WHOLE)
    assert pushed.id == "7"
    assert pushed.channel == "orders.eu"
    assert json.loads(pushed.value) == WHOLE


def test_numbers_and_unknown_extensions_keep_their_text() -> None:
    body = json.dumps(WHOLE)[:-1] + ', "myext": 7, "flag": true, "data": {"n": 12345678901234567890.10, "e": 1E5}}'
    value = read(body)[0].value
    assert b'"myext":7,"flag":true' in value.replace(b" ", b"")
    assert b'{"n":12345678901234567890.10,"e":1E5}' in value


def test_white_space_between_values_is_removed() -> None:
    (pushed,) = read(json.dumps(WHOLE, indent=4) + "\n")
    assert pushed.value == json.dumps(WHOLE, separators=(",", ":")).encode()


def test_missing_attributes_are_added() -> None:
    event = one(without("time", "traceparent"))
    assert event["time"] == "2023-11-14T22:13:20.500Z"
    assert event["traceparent"] == TRACE


def test_null_means_absent_except_as_data() -> None:
    event = one(WHOLE | {"subject": None, "time": None, "data": None})
    assert "subject" not in event
    assert event["time"] == "2023-11-14T22:13:20.500Z"
    assert event["data"] is None


def test_the_record_has_the_channel_as_key_and_its_origin_in_a_header() -> None:
    record = read(WHOLE)[0].record(1_700_000_000.5)
    assert record.key == b"orders.eu"
    assert json.loads(record.value or b"") == WHOLE
    assert record.headers[0] == CONTENT_TYPE
    assert unpack_provenance(dict(record.headers)[PROVENANCE]) == ("entity", 1_700_000_000_500, "7")


def test_the_channel_of_the_query_is_for_events_without_one() -> None:
    assert one(without("channel"), query="channel=from.query")["channel"] == "from.query"
    assert one(WHOLE, query="channel=from.query")["channel"] == "orders.eu"


def test_a_batch_keeps_its_order() -> None:
    events = read([without(id=str(number)) for number in range(5)], BATCH)
    assert [pushed.id for pushed in events] == ["0", "1", "2", "3", "4"]
    assert json.loads(receipt(events)) == {"accepted": 5, "ids": ["0", "1", "2", "3", "4"]}


def test_an_empty_batch_has_no_events() -> None:
    assert read([], BATCH) == []


def test_a_batch_is_limited() -> None:
    options = EntityOptions(batch_limit=2)
    with pytest.raises(TooLarge, match="found a batch of 3 events; the limit is 2"):
        read([WHOLE] * 3, BATCH, options=options)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (without("id"), "event 1: attribute 'id' is missing"),
        (without("channel"), "event 1: attribute 'channel': missing"),
        (without(specversion="0.3"), 'event 1: specversion is "0.3"'),
        (7, "event 1: not a JSON object"),
        ([], "event 1: not a JSON object"),
    ],
)
def test_an_invalid_event_refuses_the_batch_and_its_index_is_named(bad: Any, why: str) -> None:
    with pytest.raises(Malformed, match=re.escape(why)):
        read([WHOLE, bad, WHOLE], BATCH)


def test_binary_mode_takes_attributes_from_headers_and_json_inline() -> None:
    headers = {
        "ce-specversion": "1.0",
        "CE-ID": "7",
        "ce-source": "/shop",
        "ce-type": "order.updated",
        "ce-channel": "orders.eu",
        "ce-subject": "Euro%20%E2%82%AC%20%F0%9F%98%80",
        "ce-myext": '"quoted \\"text\\""',
        "x-other": "not an attribute",
    }
    event = one('{"a": 1}', "application/json; charset=UTF-8", headers=headers)
    assert event["data"] == {"a": 1}
    assert event["datacontenttype"] == "application/json; charset=UTF-8"
    assert event["subject"] == "Euro € 😀"
    assert event["myext"] == 'quoted "text"'
    assert "x-other" not in event


def binary_headers(**changed: str) -> dict[str, str]:
    names = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "t", "channel": "c", **changed}
    return {f"ce-{name}": value for name, value in names.items()}


def test_binary_mode_keeps_other_data_as_base64() -> None:
    event = one(b"\x00\xff", "image/png", headers=binary_headers())
    assert base64.b64decode(event["data_base64"]) == b"\x00\xff"
    assert event["datacontenttype"] == "image/png"
    assert "data" not in event


def test_binary_mode_without_a_body_has_no_data() -> None:
    event = one(b"", "", headers=binary_headers())
    assert not {"data", "data_base64", "datacontenttype"} & set(event)


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        (binary_headers(subject="%ff"), "not UTF-8"),
        (binary_headers(subject="a%0Ab"), "control character"),
        (binary_headers(subject="\udcff"), "not UTF-8"),
        (binary_headers(channel="a b"), "channel"),
        (binary_headers(datacontenttype="text/plain"), "datacontenttype"),
        (binary_headers(data="x"), "'ce-data'"),
        (binary_headers(**{"my-ext": "x"}), "attribute 'my-ext'"),
        (binary_headers(specversion="2"), "specversion"),
        (binary_headers(id=""), "attribute 'id'"),
        ({"ce-id": "7"}, "specversion"),
    ],
)
def test_binary_mode_names_an_invalid_header(headers: dict[str, str], why: str) -> None:
    with pytest.raises(Malformed, match=re.escape(why)):
        read("{}", "application/json", headers=headers)


def test_a_repeated_header_is_refused() -> None:
    push = Push(CIMultiDict([*binary_headers().items(), ("Ce-Id", "8")]), MultiDict(), b"")
    with pytest.raises(Malformed, match="more than once"):
        parse_events(push, Defaults("", str, str), EntityOptions())


@pytest.mark.parametrize("body", ['{"a": 1}', "[1, 2]", '"text"', "7", "null"])
def test_plain_json_becomes_the_data_of_one_event(body: str) -> None:
    event = one(body, "application/json", "channel=orders.eu&subject=4711&type=order.updated")
    assert event == {
        "specversion": "1.0",
        "id": "made-1",
        "source": "/sources/entity",
        "type": "order.updated",
        "subject": "4711",
        "datacontenttype": "application/json",
        "data": json.loads(body),
        "time": "2023-11-14T22:13:20.500Z",
        "channel": "orders.eu",
        "traceparent": TRACE,
    }


def test_plain_json_has_a_type_and_needs_no_subject() -> None:
    event = one("{}", "application/vnd.shop+json", "channel=orders")
    assert event["type"] == "entity.pushed"
    assert "subject" not in event


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("", "'channel': missing"),
        ("channel=", "found no text"),
        ("channel=a b", "channel 'a b'"),
        ("chanel=orders", "query parameter 'chanel'"),
        ("channel=a&channel=b", "more than once"),
        ("channel=a&subject=x\ny", "control character"),
    ],
)
def test_plain_json_with_an_invalid_query_names_the_parameter(query: str, why: str) -> None:
    with pytest.raises(Malformed, match=re.escape(why)):
        read("{}", "application/json", query)


@pytest.mark.parametrize(("content_type", "body"), [(STRUCTURED, WHOLE), (BATCH, [WHOLE])])
def test_the_query_does_not_set_attributes_of_a_cloudevent(content_type: str, body: Any) -> None:
    with pytest.raises(Malformed, match="'subject'"):
        read(body, content_type, "subject=x")


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "text/json-ish",
        "json",
        "application/xml",
        f"{STRUCTURED}; charset=latin-1",
        "application/jsonx",
    ],
)
def test_another_content_type_is_unsupported(content_type: str) -> None:
    with pytest.raises(Refused) as refused:
        read(WHOLE, content_type)
    assert refused.value.refusal is UNSUPPORTED_TYPE


@pytest.mark.parametrize(
    "content_type", [f"{STRUCTURED}; charset=utf-8", f'{STRUCTURED};charset="UTF-8"', STRUCTURED.upper()]
)
def test_a_content_type_is_parsed_as_in_http(content_type: str) -> None:
    assert one(WHOLE, content_type) == WHOLE


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\x00\x01\x02", "not JSON"),
        (b'{"id":"\xff"}', "not JSON"),
        (b'{"id":"\\ud800"}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b"NaN", "not JSON"),
    ],
)
def test_an_invalid_body_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        read(body)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"cursor": "x"}, "'cursor': reserved for the relay"),
        ({"source": "/trelay"}, "reserved for the relay"),
        ({"type": "trelay.gap"}, "reserved for the relay"),
        ({"channel": "not a channel"}, "channel"),
        ({"channel": 7}, "'channel'"),
        ({"traceparent": "x"}, "traceparent"),
        ({"data_base64": "AA=="}, "exclude"),
        ({"BadName": "x"}, "'BadName'"),
        ({"ext": {"nested": 1}}, "'ext'"),
        ({"ext": 1.5}, "'ext'"),
        ({"id": ""}, "'id'"),
        ({"id": None}, "'id'"),
    ],
)
def test_an_invalid_attribute_is_named(changed: dict[str, Any], why: str) -> None:
    with pytest.raises(Malformed, match=re.escape(why)):
        read(WHOLE | changed)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_attributes = st.dictionaries(st.sampled_from([*WHOLE, "data_base64", "cursor", "x"]), _json)


@given(
    st.one_of(st.binary(), _json.map(json.dumps), _attributes.map(lambda found: json.dumps(WHOLE | found))),
    st.sampled_from([STRUCTURED, BATCH, "application/json", "text/plain"]),
    st.dictionaries(st.sampled_from(["ce-id", "ce-type", "ce-subject", "ce-channel", "ce-x-y"]), st.text(), max_size=4),
    st.sampled_from(["", "channel=a", "channel=a&subject=é", "x=y"]),
)
def test_hostile_pushes_are_read_or_refused(
    body: bytes | str, content_type: str, headers: dict[str, str], query: str
) -> None:
    try:
        events = read(body, content_type, query, headers)
    except (Malformed, Refused):
        return  # any other exception fails the test
    for pushed in events:
        json.loads(pushed.value.decode())
        assert pushed.channel
        pushed.record(0.0)
