"""What terms evaluate, and what they leave to JSONata."""

import pytest

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.paths import parse, put
from shared.expression.nodes import Raw, text
from shared.expression.plain import grammar
from shared.expression.plain.terms import NULL, Term, Undecided
from tests.unit.services.process_api.making import draft, event


def term(expression: str) -> Term:
    found = grammar.parse(expression)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("expression", "data"),
    [
        ("a.b", {"a": [{"b": 1}]}),
        ("a.b", [1]),
        ("a.b.c", {"a": {"b": []}}),
        ("a = 1", {"a": [1]}),
        ("a = 1", {"a": {}}),
        ("a and true", {"a": []}),
        ("a < 'z'", {"a": "é"}),
        ("a < 1", {"a": "x"}),
        ("a < 1", {"a": True}),
        ("a < nothing", {"a": None}),
        ("a & 'x'", {"a": 1.5}),
        ("a & 'x'", {"a": None}),
        ("{'x': a}", [{"a": 1}]),
        ("{'x': a}", None),
    ],
)
def test_terms_that_are_left_to_jsonata(expression: str, data: object) -> None:
    with pytest.raises(Undecided):
        term(expression).value(draft(data))


def test_large_numbers_are_copied_and_compared_exactly() -> None:
    value = event(text='{"id":9007199254740993,"price":0.12345678901234567891,"next":9007199254740994}')
    copied = term("{'i': id, 'p': price}").value(Draft(value))
    assert copied is not None
    assert text(copied) == b'{"i":9007199254740993,"p":0.12345678901234567891}'
    assert term("id < next").test(Draft(value)) is True
    assert term("id = next").test(Draft(value)) is False
    assert term("'n' & id").scalar(Draft(value)) == "n9007199254740993"


def test_an_expanded_value_is_copied_and_not_shared() -> None:
    changed = draft({"a": {"b": {"c": 1}}})
    put(changed, parse("data.a.b.c"), changed.attributes()["id"])
    built = term("{'one': a, 'other': a}").value(changed)
    assert built is not None
    changed.replace_data(built)
    put(changed, parse("data.one.b"), changed.attributes()["id"])
    data = changed.data_text()
    assert data == b'{"one":{"b":"orders:7"},"other":{"b":{"c":"orders:7"}}}'


def test_null_and_undefined_differ() -> None:
    assert term("a").scalar(draft({"a": None})) is NULL
    assert term("a").scalar(draft({})) is None
    assert term("a.b").value(draft({"a": None})) is None
    assert term("$exists(a)").test(draft({"a": None})) is True


def test_the_entity_is_not_an_attribute() -> None:
    assert term("$event.data").value(draft({"a": 1})) is None
    assert term("$event.subject").scalar(draft({})) == "C-1"


def test_numbers_with_many_digits_are_compared_exactly() -> None:
    data = Draft(event(text='{"a":0.12345678901234567}'))
    assert term("a < 1").test(data) is True
    assert term("a > 0.5").test(data) is False


def test_texts_are_equal_or_not() -> None:
    for expression, holds in {"a = 'b'": True, "a != 'b'": False, "a = c": False, "a != c": True}.items():
        assert term(expression).test(draft({"a": "b", "c": "d"})) is holds


def test_texts_are_ordered_and_a_comparison_with_undefined_is_undefined() -> None:
    assert term("a < 'z'").test(draft({"a": "b"})) is True
    assert term("a < 'z'").test(draft({})) is None


def test_an_expanded_object_is_not_a_scalar() -> None:
    data = draft({"a": {"b": 1}})
    assert term("a.b = 1").test(data) is True
    with pytest.raises(Undecided):
        term("a = 1").test(data)


def test_and_stops_at_the_first_part_that_is_false() -> None:
    assert term("a = 1 and b = 2").test(draft({"a": 1, "b": 2})) is True
    assert term("a = 1 and b = 2").test(draft({"a": 2, "b": []})) is False


def test_undefined_is_empty_in_a_concatenation() -> None:
    found = term("'a' & b & 'c' & d").value(draft({"d": 7}))
    assert found is not None
    assert text(found) == b'"ac7"'


def test_numbers_outside_the_range_of_a_double_are_compared_exactly() -> None:
    value = Draft(event(text='{"a":1e400,"b":2e400}'))
    assert term("a < b").test(value) is True
    assert term("a = b").test(value) is False
    assert term("a > 5").test(value) is True


def test_a_constant_is_set_in_several_events_without_sharing_what_is_changed_later() -> None:
    first, second = draft({}), draft({})
    constant = Raw(b'{"b":"x"}')
    for each in (first, second):
        put(each, parse("data.a"), constant)
    put(first, parse("data.a.b"), first.attributes()["id"])
    assert first.data_text() == b'{"a":{"b":"orders:7"}}'
    assert second.data_text() == b'{"a":{"b":"x"}}'
