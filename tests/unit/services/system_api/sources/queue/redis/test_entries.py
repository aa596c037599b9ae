"""What an entry becomes, and the order of ids."""

import pytest

from services.system_api.sources.queue.redis.entries import (
    before,
    digest_of,
    entries_of,
    id_text,
    message_of,
    parse_id,
    size_of,
)
from tests.unit.services.system_api.sources.queue.messages import event_of

ID = b"1700000000500-2"


def test_ids_are_pairs() -> None:
    assert parse_id(b"5-3") == (5, 3) == parse_id("5-3")
    assert parse_id("5") == (5, 0)
    assert (id_text((5, 3)), id_text(None)) == ("5-3", "0-0")


@pytest.mark.parametrize(("entry", "expected"), [((5, 3), (5, 2)), ((5, 0), (4, 2**64 - 1)), ((0, 0), None)])
def test_the_id_before_another(entry: tuple[int, int], expected: tuple[int, int] | None) -> None:
    assert before(entry) == expected


def test_all_fields_are_the_data() -> None:
    message = message_of(ID, {b"a": b"1", b"b": "\u00e4".encode()}, None, "r1.", 2)
    event = event_of(message, subject={"header": "a"})
    assert (event["data"], event["subject"], event["time"]) == (
        {"a": "1", "b": "\u00e4"},
        "1",
        "2023-11-14T22:13:20.500Z",
    )
    assert (message.place, message.position, message.deliveries, message.token) == (
        "r1.1700000000500-2",
        (1700000000500, 2),
        2,
        ID,
    )
    assert size_of({b"a": b"123"}) == 4


def test_one_field_is_the_data_and_the_others_are_headers() -> None:
    fields = {b"data": b"[1]", b"Content-Type": b"application/json", b"k": b"\xff"}
    message = message_of(ID, fields, "data", "", 1)
    assert (message.body, message.content_type) == (b"[1]", "application/json")
    assert message.headers == {"Content-Type": "application/json", "k": "\ufffd"}
    names = {b"ce_specversion": b"1.0", b"ce_id": b"i", b"ce_source": b"/s", b"ce_type": b"theirs"}
    event = event_of(message_of(ID, {b"data": b"1", **names}, "data", "", 1), cloudevents=True)
    assert (event["type"], event["data"]) == ("theirs", 1)


def test_an_id_that_is_no_time_gives_none() -> None:
    assert message_of(b"5-1", {b"a": b"1"}, None, "", 1).time is None


def test_an_entry_that_is_no_message_names_the_fault() -> None:
    without = message_of(ID, {b"a": b"1", b"b": b"2"}, "data", "", 1)
    assert without.fault == "field 'data': found none in this entry; it has a, b"
    assert without.body == b"a=1\nb=2"
    assert "not UTF-8" in str(message_of(ID, {b"a": b"\xff"}, None, "", 1).fault)
    names = message_of(ID, {b"\xfe": b"1", b"\xff": b"2"}, None, "", 1)
    assert "not UTF-8" in str(names.fault)
    assert names.body == b"\xfe=1\n\xff=2"


def test_a_field_that_is_there_twice_is_never_lost_in_silence() -> None:
    answer = [[b"s", [[ID, [b"a", b"1", b"b", b"2", b"a", b"3"]], [ID, None]]]]
    ((stream, ((_, fields), (_, deleted))),) = entries_of(answer, keys=["s"])
    assert (stream, deleted, entries_of(None)) == (b"s", {}, [])
    whole = message_of(ID, fields, None, "", 1)
    assert (whole.fault, whole.body) == ("field 'a': found several in this entry; expected one", b"a=1\nb=2\na=3")
    assert message_of(ID, fields, "a", "", 1).fault == whole.fault
    assert (message_of(ID, fields, "b", "", 1).fault, message_of(ID, fields, "b", "", 1).body) == (None, b"2")


def test_the_digest_is_that_of_the_fields() -> None:
    assert message_of(ID, {b"a": b"1"}, None, "", 1).digest == digest_of({b"a": b"1"})
    all_others: list[dict[bytes, bytes]] = [{}, {b"a": b"2"}, {b"a1": b""}, {b"": b"a1"}, {b"a": b"1", b"b": b"1"}]
    assert len({digest_of(fields) for fields in [{b"a": b"1"}, *all_others]}) == 6
