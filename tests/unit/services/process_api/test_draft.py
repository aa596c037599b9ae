"""An event that is taken apart only as far as somebody looks."""

import json

import pytest

from services.process_api.draft import Draft, Raw, child, opened, text, with_channel, without_channel
from services.process_api.paths import parse, put
from shared.errors import Malformed
from shared.event import Envelope, MalformedEvent, wrap
from tests.unit.services.process_api.making import data_of, draft, event, text_of_data, without_data


def test_an_event_that_nobody_changed_stays_as_it_was_but_for_the_channel() -> None:
    value = event(text='{ "a": 1.50,\n "b" : [ 9007199254740993 ] }')
    looked = Draft(value)
    assert child(looked.attributes, "data") is not None
    assert looked.encoded(b'"orders"') == b'{"channel":"orders",' + value[1:]


def test_what_was_changed_leaves_the_rest_as_it_was() -> None:
    changed = Draft(event(text='{"a":1.50,"b":{"c":9007199254740993,"d":0.1234567890123456789},"e":[1E2]}', zone="eu"))
    put(changed, parse("data.b.new"), Raw(b"true"))
    value = changed.encoded(b'"orders"')
    assert text_of_data(value) == '{"a":1.50,"b":{"c":9007199254740993,"d":0.1234567890123456789,"new":true},"e":[1E2]}'
    assert json.loads(value)["zone"] == "eu"


def test_a_channel_that_it_came_with_is_replaced_and_not_doubled() -> None:
    value = Draft(event(1, channel="old")).encoded(b'"new"')
    assert value.count(b'"channel"') == 1
    assert json.loads(value)["channel"] == "new"


@pytest.mark.parametrize(
    "value",
    [b"", b"x", b"[]", b"{}", b'{"specversion":"1.0"}', event("\u00e9").replace("é".encode(), b"\xe9"), b"[" * 10_000],
)
def test_what_is_no_event_says_so(value: bytes) -> None:
    with pytest.raises(MalformedEvent):
        Draft(value)


def test_the_entity_may_be_anything_or_nothing() -> None:
    assert draft([1]).data_text() == b"[1]"
    assert isinstance(draft([1]).data, list)
    assert isinstance(draft({"a": 1}).data, dict)
    assert draft(None).data_text() == b"null"
    assert Draft(without_data()).data is None
    assert Draft(without_data(data_base64="AAA=")).data_text() is None


def test_new_data_takes_the_place_of_bytes() -> None:
    replaced = Draft(without_data(data_base64="AAA=", datacontenttype="image/png"))
    replaced.replace_data(Raw(b"1"))
    found = json.loads(replaced.encoded(b'"c"'))
    assert (found["data"], found["datacontenttype"], "data_base64" in found) == (1, "application/json", False)


def test_several_events_are_told_apart_by_their_ids() -> None:
    first, second = draft({"a": 1}, zone="eu").several([Raw(b"1"), Raw(b"2")])
    found = [json.loads(each.encoded(b'"c"')) for each in (first, second)]
    assert {each["zone"] for each in found} == {"eu"}
    assert [(each["id"], each["data"]) for each in found] == [("orders:7/1", 1), ("orders:7/2", 2)]


def test_siblings_do_not_share_what_one_of_them_changes() -> None:
    first, second = draft(0).several([Raw(b'{"a":1}'), Raw(b'{"a":1}')])
    put(first, parse("data.a"), Raw(b"2"))
    put(first, parse("subject"), Raw(b'"other"'))
    first.channel = None
    assert data_of(second.encoded(b'"c"')) == {"a": 1}
    assert second.attribute("subject") == "C-1"


def test_an_attribute_that_is_no_text_says_so() -> None:
    assert draft(1).attribute("nothing") is None
    with pytest.raises(Malformed, match="attribute 'zone' is not a string"):
        draft(1, zone=5).attribute("zone")


def test_one_level_is_taken_apart_at_a_time() -> None:
    node = opened(Raw(b'{"a":{"b":1}}'))
    assert isinstance(node, dict)
    assert isinstance(node["a"], Raw)
    assert opened(Raw(b'"text"')) is not None
    assert text(opened(Raw(b"[1, 2]"))) == b"[1,2]"


class TestSplicing:
    HEAD = Envelope("/sources/orders", "order.updated").head()

    def value(self, data: bytes) -> bytes:
        return wrap(self.HEAD, b'"orders:7"', b'"C-1"', b"2026-01-01T00:00:00Z", b"00-1-2-01", data)

    def test_what_the_system_layer_makes_can_be_spliced(self) -> None:
        value = self.value(b'{"a":1}')
        assert without_channel(value)
        found = with_channel(value, b'"orders.eu"')
        assert json.loads(found) == {**json.loads(value), "channel": "orders.eu"}

    @pytest.mark.parametrize("data", [b'{"channel":1}', b'{"a":"\\u0041"}', b'"\\""'])
    def test_what_may_hide_a_channel_is_unsure(self, data: bytes) -> None:
        assert not without_channel(self.value(data))

    @pytest.mark.parametrize("value", [b"", b"x", event(1, channel="a"), b'{"ch\\u0061nnel":"x"}'])
    def test_what_is_not_of_its_form_is_unsure(self, value: bytes) -> None:
        assert not without_channel(value)
