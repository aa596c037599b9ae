"""`convert`."""

from typing import Any

import pytest
from pydantic import ValidationError

from shared.errors import Malformed
from tests.unit.services.process_api.making import applied, apply, draft, event, step_options, text_of_data


@pytest.mark.parametrize(
    ("kind", "written", "expected"),
    [
        ("number", '"12.50"', "12.50"),
        ("number", '" 9007199254740993 "', "9007199254740993"),
        ("number", "1.0", "1.0"),
        ("number", "true", "1"),
        ("number", "false", "0"),
        ("number", "null", "null"),
        ("integer", '"12.0"', "12"),
        ("integer", "1e3", "1000"),
        ("string", "12.50", '"12.50"'),
        ("string", '"x"', '"x"'),
        ("string", "null", "null"),
        ("string", '{"a":1}', '"{\\"a\\":1}"'),
        ("boolean", '"Yes"', "true"),
        ("boolean", "0", "false"),
        ("boolean", "true", "true"),
    ],
)
def test_types(kind: str, written: str, expected: str) -> None:
    (made,) = apply({"convert": {"data.a": kind}}, draft_of(f'{{"a":{written}}}'))
    assert text_of_data(made.encoded(b'"c"')) == f'{{"a":{expected}}}'


def draft_of(text: str) -> Any:
    made = draft()
    made.replace_data_text(text.encode())
    return made


@pytest.mark.parametrize(
    ("wanted", "value", "reason"),
    [
        ("number", "twelve", "data.a: found 'twelve'; expected number"),
        ("number", "0x1", "expected number"),
        ("number", "1e400", "found the number 1e400"),
        ("integer", 1.5, "found '1.5'; expected integer"),
        ("integer", "1e999999999", "found '1e999999999'; expected integer"),
        ("integer", "-1E+309", "expected integer"),
        ("boolean", 2, "expected boolean"),
        ("number", [1], "expected number"),
        ({"from": "seconds", "to": "rfc3339"}, "x", "expected a number of seconds"),
        ({"from": "xml", "to": "json"}, 5, "expected text in xml"),
        ({"from": "csv", "to": "json"}, "a\n1,2\n", "found 2 fields"),
        ({"from": "json", "to": "csv"}, 5, "expected an array of objects"),
    ],
)
def test_what_cannot_be_converted_is_a_dead_letter(wanted: Any, value: Any, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        apply({"convert": {"data.a": wanted}}, draft({"a": value}))


@pytest.mark.parametrize(
    ("source", "target", "value", "expected"),
    [
        ("seconds", "milliseconds", 1.5, 1500),
        ("seconds", "milliseconds", None, None),
        ("csv", "json", "a\n1\n", [{"a": "1"}]),
        ("json", "csv", [{"a": 1}], "a\r\n1\r\n"),
        ("xml", "json", "<a>1</a>", {"a": "1"}),
        ("json", "xml", {"a": 1}, "<a>1</a>"),
        ("json", "xml", None, None),
    ],
)
def test_units_and_formats(source: str, target: str, value: Any, expected: Any) -> None:
    made = applied({"convert": {"data.a": {"from": source, "to": target}}}, event({"a": value}))
    assert made["data"] == {"a": expected}


def test_the_whole_entity_may_be_text() -> None:
    assert applied({"convert": {"data": {"from": "csv", "to": "json"}}}, event("a\n1\n"))["data"] == [{"a": "1"}]


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ("date", "Input should be"),
        ({"from": "xml", "to": "csv"}, "expected two units of time"),
        ({"from": "x"}, "Field required"),
    ],
)
def test_malformed_settings_are_refused(wanted: Any, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        step_options({"convert": {"data.a": wanted}})
