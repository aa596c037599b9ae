"""Records of a page, and what identifies them."""

import json
from typing import Any

import pytest

from services.system_api.sources.http.polling.options import HttpSourceOptions
from services.system_api.sources.http.polling.records import Page, Selector
from shared.errors import Malformed


def selected(body: Any, **options: Any) -> Page:
    given = {"kind": "http", "url": "https://api.example/", "type": "t", "id": "id", "records": "items"} | options
    text = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
    return Selector(HttpSourceOptions.model_validate(given)).page(text)


def test_a_record_has_an_id_a_subject_a_time_and_its_text() -> None:
    body = b'{"items":[{"id":9007199254740993,"for":{"name":"C-1"},"at":"2027-01-15T08:00:00Z"}]}'
    (record,) = selected(body, subject="for.name", time="at").records
    assert (record.id, record.subject) == ("9007199254740993", "C-1")
    assert record.time is not None
    assert record.time.microseconds == 1_800_000_000_000_000
    assert record.data == b'{"id":9007199254740993,"for":{"name":"C-1"},"at":"2027-01-15T08:00:00Z"}'


def test_the_version_does_not_depend_on_the_order_of_members() -> None:
    one, two, three = (
        selected(body).records[0].version
        for body in (
            b'{"items":[{"id":1,"a":{"b":1,"c":2}}]}',
            b'{"items":[{"a":{"c":2,"b":1},"id":1}]}',
            b'{"items":[{"a":{"c":2,"b":3},"id":1}]}',
        )
    )
    assert one == two != three


def test_the_version_can_be_a_part_of_the_record() -> None:
    one, two, three = (
        selected({"items": [{"id": 1, "rev": rev, "views": views}]}, version="rev").records[0].version
        for rev, views in ((1, 5), (1, 6), (2, 6))
    )
    assert one == two != three


def test_a_large_number_takes_part_in_the_version() -> None:
    one, two = (
        selected(b'{"items":[{"id":1,"n":0.1234567890123456%d}]}' % digit).records[0].version for digit in (78, 79)
    )
    assert one != two


def test_records_with_a_time_come_oldest_first() -> None:
    items = [{"id": n, "at": n} for n in (3, 1, 2)]
    assert [record.id for record in selected({"items": items}, time="at").records] == ["1", "2", "3"]
    assert [record.id for record in selected({"items": items}).records] == ["3", "1", "2"]


@pytest.mark.parametrize(
    ("body", "count"),
    [({"items": []}, 0), ({"items": None}, 0), ({"items": {"id": 1}}, 1), ({"items": [{"id": 1}, {"id": 2}]}, 2)],
)
def test_lists_objects_and_null_are_records(body: Any, count: int) -> None:
    assert len(selected(body).records) == count


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            {"data": [], "meta": 1},
            "nothing in the body, which is an object with the members data, meta; expected a list",
        ),
        ({}, r"members \(none\)"),
        ([], "which is no object"),
        ({"items": "none"}, 'records: the expression gives "none"; expected a list'),
        ({"items": 5}, "records: the expression gives 5"),
    ],
)
def test_another_shape_is_an_error_and_never_no_records(body: Any, error: str) -> None:
    with pytest.raises(Malformed, match=error):
        selected(body)


def test_an_expression_that_fails_names_its_setting() -> None:
    with pytest.raises(Malformed, match="pagination: the expression failed"):
        selected({"items": [], "x": "a"}, pagination={"kind": "cursor", "cursor": "$number(x)"})
    with pytest.raises(Malformed, match=r"pagination: the expression gives \{"):
        selected({"items": [], "x": {}}, pagination={"kind": "cursor", "cursor": "x"})


@pytest.mark.parametrize(
    ("item", "error", "identity"),
    [
        ({}, "id: the expression gives nothing", None),
        ({"id": None}, "id: the expression gives nothing", None),
        ({"id": ""}, "id: the expression gives nothing", None),
        ({"id": True}, "id: the expression gives true; expected a text or a number", None),
        ({"id": {}}, "id: the expression gives {}", None),
        (["1", "2"], "id: the expression gives nothing", None),
        ({"id": 1, "s": ""}, "subject: the expression gives nothing", "1"),
        ({"id": 1, "s": 2, "at": "noon"}, 'time: found "noon"', "1"),
        ({"id": 1, "s": "x" * 100}, "a record of 115 bytes, the limit is 100", "1"),
    ],
)
def test_a_record_that_cannot_be_an_event_is_unreadable_and_the_others_are_read(
    item: Any, error: str, identity: str | None
) -> None:
    page = selected({"items": [{"id": 7, "s": 1}, item]}, subject="s", time="at", record_limit=100)
    assert [record.id for record in page.records] == ["7"]
    (unreadable,) = page.unreadable
    assert error in unreadable.error
    assert (unreadable.id, unreadable.place) == (identity, 1)
    assert unreadable.value == json.dumps(item, separators=(",", ":")).encode()


def test_a_number_out_of_range_makes_a_record_unreadable() -> None:
    page = selected(b'{"items":[{"id":1,"n":1e400},{"id":2}]}')
    assert [record.id for record in page.records] == ["2"]
    assert "1e400" in page.unreadable[0].error


@pytest.mark.parametrize(
    ("pagination", "body", "expected"),
    [
        ({"kind": "cursor", "cursor": "next"}, {"next": "abc"}, ("abc", None)),
        ({"kind": "cursor", "cursor": "next"}, {"next": 12}, ("12", None)),
        ({"kind": "cursor", "cursor": "next"}, {"next": None}, (None, None)),
        ({"kind": "cursor", "cursor": "next"}, {"next": ""}, (None, None)),
        ({"kind": "cursor", "cursor": "next"}, {"next": False}, (None, None)),
        ({"kind": "cursor", "cursor": "next"}, {}, (None, None)),
        ({"kind": "next", "url": "links.next"}, {"links": {"next": "/b"}}, ("/b", None)),
        ({"kind": "page", "more": "page < pages"}, {"page": 1, "pages": 2}, (None, True)),
        ({"kind": "page", "more": "page < pages"}, {"page": 2, "pages": 2}, (None, False)),
        ({"kind": "offset", "more": "has_more"}, {}, (None, None)),
    ],
)
def test_what_follows_a_page(pagination: Any, body: Any, expected: tuple[str | None, bool | None]) -> None:
    page = selected(body | {"items": []}, pagination=pagination)
    assert (page.next, page.more) == expected


def test_the_cursor_of_the_next_poll() -> None:
    changes = {"kind": "cursor", "cursor": "items[-1].id", "parameter": "since_id"}
    assert selected({"items": [{"id": 1}, {"id": 2}]}, changes=changes).cursor == "2"
    assert selected({"items": []}, changes=changes).cursor is None


def test_a_value_that_was_marked_makes_a_record_unreadable_and_comes_back() -> None:
    page = selected('{"items":[{"id":1,"n":"\ufdd0NaN"},{"id":2}]}'.encode())
    assert [record.id for record in page.records] == ["2"]
    assert page.unreadable[0].value == b'{"id":1,"n":NaN}'


def test_the_body_itself_can_be_the_list_with_numbers_of_any_size() -> None:
    page = selected(b'[{"id":9007199254740993,"n":0.12345678901234567890}]', records=" $ ")
    assert page.records[0].data == b'{"id":9007199254740993,"n":0.12345678901234567890}'
