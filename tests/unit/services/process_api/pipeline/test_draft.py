"""An event that is parsed only as far as needed."""

import json

import pytest

from services.process_api.pipeline.draft import Draft, relabelled, traceparent_of
from services.process_api.pipeline.paths import parse, put
from shared.errors import Malformed
from shared.events.event import Channel, Envelope, MalformedEvent, wrap
from shared.expression.nodes import Raw
from tests.unit.services.process_api.making import data_of, draft, event, text_of_data, without_data


def test_an_unchanged_event_differs_only_in_its_channel() -> None:
    value = event(text='{ "a": 1.50,\n "b" : [ 9007199254740993 ] }')
    read = Draft(value)
    assert read.data() is not None
    assert read.encoded(b'"orders"') == b'{"channel":"orders",' + value[1:]


def test_a_change_leaves_the_rest_unaltered() -> None:
    changed = Draft(event(text='{"a":1.50,"b":{"c":9007199254740993,"d":0.1234567890123456789},"e":[1E2]}', zone="eu"))
    put(changed, parse("data.b.new"), Raw(b"true"))
    value = changed.encoded(b'"orders"')
    assert text_of_data(value) == '{"a":1.50,"b":{"c":9007199254740993,"d":0.1234567890123456789,"new":true},"e":[1E2]}'
    assert json.loads(value)["zone"] == "eu"


def test_the_channel_of_an_event_is_replaced() -> None:
    value = Draft(event(1, channel="old")).encoded(b'"new"')
    assert value.count(b'"channel"') == 1
    assert json.loads(value)["channel"] == "new"


@pytest.mark.parametrize(
    "value",
    [b"", b"x", b"[]", b"{}", b'{"specversion":"1.0"}', event("\u00e9").replace("é".encode(), b"\xe9"), b"[" * 10_000],
)
def test_bytes_that_are_not_an_event_are_refused(value: bytes) -> None:
    with pytest.raises(MalformedEvent):
        Draft(value)


def test_the_entity_may_be_any_value_or_absent() -> None:
    assert draft([1]).data_text() == b"[1]"
    assert isinstance(draft([1]).data(), list)
    assert isinstance(draft({"a": 1}).data(), dict)
    assert draft(None).data_text() == b"null"
    assert Draft(without_data()).data() is None
    assert Draft(without_data(data_base64="AAA=")).data_text() is None


def test_new_data_replaces_data_base64() -> None:
    replaced = Draft(without_data(data_base64="AAA=", datacontenttype="image/png"))
    replaced.replace_data(Raw(b"1"))
    found = json.loads(replaced.encoded(b'"c"'))
    assert (found["data"], found["datacontenttype"], "data_base64" in found) == (1, "application/json", False)


def test_copies_have_ids_of_their_own() -> None:
    first, second = draft({"a": 1}, zone="eu").copies_with([Raw(b"1"), Raw(b"2")])
    found = [json.loads(each.encoded(b'"c"')) for each in (first, second)]
    assert {each["zone"] for each in found} == {"eu"}
    assert [(each["id"], each["data"]) for each in found] == [("orders:7/1", 1), ("orders:7/2", 2)]


def test_copies_do_not_share_changes() -> None:
    first, second = draft(0).copies_with([Raw(b'{"a":1}'), Raw(b'{"a":1}')])
    put(first, parse("data.a"), Raw(b"2"))
    put(first, parse("subject"), Raw(b'"other"'))
    first.channel = None
    assert data_of(second.encoded(b'"c"')) == {"a": 1}
    assert second.attribute("subject") == "C-1"


def test_an_attribute_that_is_not_text_is_refused() -> None:
    assert draft(1).attribute("nothing") is None
    with pytest.raises(Malformed, match="attribute 'zone' is not a string"):
        draft(1, zone=5).attribute("zone")


class TestSpliced:
    """An event that the system layer spliced is not parsed before it is needed."""

    HEAD = Envelope("/sources/orders", "order.updated").head()

    def value(self, data: bytes) -> bytes:
        return wrap(self.HEAD, b'"orders:7"', b'"C,\\"data\\":1"', b"2026-01-01T00:00:00Z", b"00-1-2-01", data)

    def test_only_the_channel_is_spliced_in(self) -> None:
        # This could not be parsed; the system layer never writes it.
        assert (
            Draft(self.value(b"{broken"), spliced=True).encoded(b'"c"')
            == b'{"channel":"c",' + self.value(b"{broken")[1:]
        )

    def test_every_part_is_found(self) -> None:
        spliced, parsed = Draft(self.value(b'{"a":{"b":1}}'), spliced=True), Draft(self.value(b'{"a":{"b":1}}'))
        assert {name: bytes(raw) for name, raw in spliced.attributes().items()} == {
            name: bytes(raw) for name, raw in parsed.attributes().items()
        }
        assert spliced.attribute("subject") == 'C,"data":1'
        assert spliced.data_text() == parsed.data_text() == b'{"a":{"b":1}}'

    @pytest.mark.parametrize("path", ["data", "data.a", "data.new.deep", "subject", "zone"])
    def test_a_change_gives_the_same_event_as_without_splicing(self, path: str) -> None:
        made = []
        for is_spliced in (True, False):
            changed = Draft(self.value(b'{"a":1,"b":[2]}'), spliced=is_spliced)
            put(changed, parse(path), Raw(b'"new"'))
            made.append(json.loads(changed.encoded(b'"c"')))
        assert made[0] == made[1]
        assert made[0]["channel"] == "c"

    def test_an_entity_can_be_removed(self) -> None:
        bare = Draft(self.value(b"1"), spliced=True)
        bare.replace_data(None)
        assert json.loads(bare.encoded(b'"c"')) == {
            name: value for name, value in json.loads(self.value(b"1")).items() if name != "data"
        } | {"channel": "c"}

    def test_an_event_with_a_channel_or_without_an_entity_is_parsed_at_once(self) -> None:
        named = Envelope("/sources/orders", "t", Channel("old")).head()
        value = wrap(named, b'"i"', b'"s"', b"t", b"p", b"1")
        assert json.loads(Draft(value, spliced=True).encoded(b'"new"')) == {**json.loads(value), "channel": "new"}
        assert Draft(without_data(), spliced=True).data() is None

    def test_an_event_that_was_not_spliced_is_found_out_when_it_is_parsed(self) -> None:
        forged = Draft(b'{"id":"x","data":1}', spliced=True)
        with pytest.raises(MalformedEvent, match="'specversion' is missing"):
            forged.attributes()


def test_reading_the_entity_keeps_its_text() -> None:
    read = Draft(event(text='{ "a" : 1.0 }'), spliced=True)
    assert read.data() is not None
    assert read.data_text() == b'{ "a" : 1.0 }'


def test_an_event_of_another_program_is_checked_with_and_without_data() -> None:
    for value in (event({"n": 1}), without_data()):
        Draft(value).check()


def test_levels_that_a_step_adds_count() -> None:
    deepest = "[" * 511 + "]" * 511
    draft = Draft(event(text=deepest), spliced=True)
    draft.mark_data_changed()
    draft.check()
    draft.replace_data({"below": Raw(deepest.encode())})
    with pytest.raises(MalformedEvent, match=r"data: below.*: found more than 511 nested objects and arrays"):
        draft.check()


def test_a_clone_changes_without_the_original() -> None:
    one = Draft(event({"a": {"b": 1}}))
    one.data()
    two = one.clone()
    data = two.data()
    assert isinstance(data, dict)
    data["a"] = Raw(b"2")
    two.mark_data_changed()
    two.set_attribute("subject", Raw(b'"x"'))
    assert json.loads(one.encoded(b'"c"'))["data"] == {"a": {"b": 1}}
    assert json.loads(one.encoded(b'"c"'))["subject"] == "C-1"
    assert json.loads(two.encoded(b'"c"'))["data"] == {"a": 2}
    assert Draft(without_data()).clone().data() is None
    head = Envelope("/sources/orders", "order.updated").head()
    as_it_came = wrap(head, b'"i"', b'"s"', b"t", b"p", b"1")
    assert Draft(as_it_came, spliced=True).clone().data_text() == b"1"
    assert [copy.attribute("id") for copy in one.numbered_copies(2)] == ["orders:7/1", "orders:7/2"]


@pytest.mark.parametrize(
    ("attributes", "expected"), [({}, None), ({"traceparent": "t"}, "t"), ({"traceparent": 7}, None)]
)
def test_the_trace_of_an_event_is_a_text_or_none(attributes: dict[str, object], expected: str | None) -> None:
    assert traceparent_of(draft(None, **attributes)) == expected


HEAD = Envelope("/sources/orders", "order.updated").head()
WRAPPED = wrap(
    HEAD, b'"orders:7"', b'"C"', b"2026-01-02T03:04:05Z", b"00-1-2-01", '{"city":"Zürich","channel":"x"}'.encode()
)


@pytest.mark.parametrize("value", [WRAPPED, WRAPPED.replace("ü".encode(), b"u"), WRAPPED.replace(b'{"city"', b'[{"a"')])
def test_relabelling_gives_what_a_draft_encodes_to(value: bytes) -> None:
    assert relabelled(value, b'"new"') == Draft(value, spliced=True).encoded(b'"new"')


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"x",
        b',"data":1}',
        without_data(),
        b" " + WRAPPED,
        WRAPPED.replace(b'"id":', b'"channel":"old","id":'),
    ],
)
def test_an_event_that_has_to_be_parsed_is_not_relabelled(value: bytes) -> None:
    assert relabelled(value, b'"new"') is None


def test_an_event_that_is_not_utf_8_is_not_relabelled() -> None:
    with pytest.raises(MalformedEvent, match="at byte"):
        relabelled(WRAPPED.replace("ü".encode(), b"\xfc"), b'"new"')
