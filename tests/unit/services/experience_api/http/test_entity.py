import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.experience_api.http.entity import EntityOptions, receipt
from services.experience_api.refusals import UNSUPPORTED_TYPE, Refused
from shared.errors import Malformed, TooLarge
from shared.events.headers import CONTENT_TYPE, PROVENANCE, unpack_provenance
from tests.unit.services.experience_api.http.pushes import STRUCTURED, TRACE, WHOLE, one, read, without

BATCH = "application/cloudevents-batch+json"


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
    with pytest.raises(Malformed, match=re.escape(why)) as caught:
        read([WHOLE, bad, WHOLE], BATCH)
    assert caught.value.event == 1


@pytest.mark.parametrize("data", [b"1e999", b'"\\ud800"', b"[" * 520 + b"]" * 520, b'"\xff"', b"1" * 400])
def test_an_event_of_a_batch_that_not_every_reader_accepts_is_named(data: bytes) -> None:
    whole = json.dumps(WHOLE).encode()
    bad = whole.replace(b'"data":', b'"data":%b,"other":' % data, 1)
    assert bad != whole
    with pytest.raises(Malformed, match=r"^event 2: not JSON that every reader accepts: ") as caught:
        read(b"[%b, %b ,%b,%b]" % (whole, whole, bad, bad), BATCH)
    assert caught.value.event == 2


@pytest.mark.parametrize("body", [b"", b"{}", b"[1,", b"[{]", b"[" * 100_000, b'[{"a":1e999}', b"[1e999]]", b"\xff"])
def test_a_body_that_is_no_batch_names_no_event(body: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        read(body, BATCH)
    assert caught.value.event is None


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
        f"{STRUCTURED}; charset=utf-8; charset=latin-1",
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
        ({"source": "/trelay"}, "reserved for Trelay"),
        ({"type": "trelay.gap"}, "reserved for Trelay"),
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
