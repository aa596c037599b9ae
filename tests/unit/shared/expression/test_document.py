"""Expressions over one JSON value."""

import pytest

from shared.expression.document import EventDocument, JsonDocument
from shared.expression.expression import Condition, Expression, Inexact

PAGE = b'{"items":[{"id":9007199254740993},{"id":2}],"next":"b","total":2}'


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("next", b'"b"'),
        ("items", b'[{"id":9007199254740993},{"id":2}]'),
        ("{'n': next}", b'{"n":"b"}'),
        ("$uppercase(next)", b'"B"'),
        ("nothing", None),
        ("$event.type", None),
    ],
)
def test_the_root_is_the_value_and_there_is_no_event(expression: str, expected: bytes | None) -> None:
    assert Expression(expression).value(JsonDocument(PAGE)) == expected


def test_a_number_that_jsonata_would_alter_is_copied_or_refused() -> None:
    assert Expression("id").value(JsonDocument(b'{"id":9007199254740993}')) == b"9007199254740993"
    with pytest.raises(Inexact):
        Expression("items[id > 1]").value(JsonDocument(PAGE))


def test_a_condition_holds_of_any_json_value() -> None:
    assert Condition("$ = 5").holds(JsonDocument(b"5"))
    assert not Condition("$exists(a)").holds(JsonDocument(b'"text"'))


class TestEvent:
    def test_the_root_is_the_data(self) -> None:
        document = EventDocument(b'{"id":"1","cursor":"A","data":{"n":[1]}}', without="cursor")
        assert document.data_text() == b'{"n":[1]}'
        assert Expression("n").value(document) == b"[1]"
        assert document.data_text() == b'{"n":[1]}'
        assert Expression("$event").value(document) == b'{"id":"1"}'

    def test_an_event_without_data_has_no_root(self) -> None:
        document = EventDocument(b'{"id":"1"}', without="cursor")
        assert (document.data(), document.data_text()) == (None, None)
