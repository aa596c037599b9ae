"""One line of NDJSON: a valid line passes unchanged, any other is an error. Checks what is expected of msgspec."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.system_api.sources.file.parsing.ndjson import Ndjson
from shared.errors import Malformed

LINES = Ndjson("id", None)


@pytest.mark.parametrize(
    "line",
    [
        b'{"id":"a","n":9007199254740993,"m":1.10,"e":-1E+400,"x":123456789012345678901234567890}',
        b' {"id" : "a" , "text":"\\ud83d\\ude00 \\u00e9 \\/ \x7f"} ',
        b'{"id":"b","id":"a"}',
        b'{"i\\u0064":"a"}',
        b'{"id":"a","deep":' + b"[" * 200 + b"]" * 200 + b"}",
    ],
)
def test_a_valid_line_passes_byte_for_byte(line: bytes) -> None:
    assert LINES.read(line) == ("a", line, None)


@pytest.mark.parametrize(
    "value",
    [
        *(
            "NaN",
            "Infinity",
            "-Infinity",
            "01",
            "-01",
            "1.",
            ".1",
            "+1",
            "1e",
            "-",
            "0x1",
            "tru",
            "nulll",
            "[1,]",
            "[1 2]",
        ),
        *('{"a":1,}', "{a:1}", "{'a':1}", '"\\q"', '"\\u12g4"', '"\\ud800"', '"\\udc00"', '"\\ud800\\u0041"'),
        *('"a\x01b"', '"a\tb"', '"open', "1} {", "1}]", '{"\\q":1}', '{"a\x01":1}', "[" * 100_000),
    ],
)
def test_invalid_json_is_an_error_wherever_it_is(value: str) -> None:
    for line in (f'{{"id":"a","x":{value}}}', f'{{"x":[0,{value}],"id":"a"}}', f'{{"x":{{"id":{value}}},"id":"a"}}'):
        with pytest.raises(Malformed):
            LINES.read(line.encode())


@pytest.mark.parametrize("line", [b"[1]", b'"id"', b"null", b"7", b"{", b"}", b'{"id":"a"}x', b"\xef\xbb\xbf{}"])
def test_a_line_that_is_no_object_is_an_error(line: bytes) -> None:
    with pytest.raises(Malformed):
        LINES.read(line)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b'{"a":1}', "missing, null or empty"),
        (b'{"id":null}', "missing, null or empty"),
        (b'{"id":""}', "missing, null or empty"),
        (b'{"id":1.5}', "float"),
        (b'{"id":true}', "bool"),
        (b'{"id":["a"]}', "array"),
    ],
)
def test_a_line_without_a_subject_is_an_error(line: bytes, error: str) -> None:
    with pytest.raises(Malformed, match=error):
        LINES.read(line)


def test_an_integer_of_any_size_may_be_the_subject() -> None:
    line = b'{"id":123456789012345678901234567890}'
    assert LINES.read(line)[0] == "123456789012345678901234567890"


def test_subject_and_time_may_be_nested() -> None:
    lines = Ndjson("order.customer.id", "order.at")
    line = b'{"order":{"at":"2026-01-02T03:04:05.678901+02:00","customer":{"id":"c1"}}}'
    assert lines.read(line) == ("c1", line, b"2026-01-02T03:04:05.678901+02:00")
    assert lines.read(b'{"order":{"customer":{"id":7}}}')[2] is None
    for missing in (b"{}", b'{"order":null}', b'{"order":{"customer":null}}'):
        with pytest.raises(Malformed, match=r"order\.customer\.id"):
            lines.read(missing)


@pytest.mark.parametrize("time", ['"yesterday"', '"2026-01-02T03:04:05"', '"2026-13-02T03:04:05Z"', "1767323045"])
def test_an_invalid_time_is_an_error(time: str) -> None:
    with pytest.raises(Malformed, match="at"):
        Ndjson("id", "at").read(f'{{"id":"a","at":{time}}}'.encode())


def test_carriage_returns_between_values_become_spaces() -> None:
    assert LINES.prepare(b'{"id":\r"a"}') == b'{"id": "a"}'


TEXT = st.text(st.characters(exclude_categories=["Cs"]))  # a lone surrogate is no character
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
)


@given(st.dictionaries(TEXT, JSON, max_size=5), st.booleans())
def test_everything_that_json_writes_passes(members: dict[str, object], ascii_only: bool) -> None:
    members["id"] = "a"
    line = json.dumps(members, ensure_ascii=ascii_only).encode()
    assert LINES.read(line) == ("a", line, None)


def _strict(text: str) -> object:
    def refuse(constant: str) -> float:
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


@given(st.text(st.sampled_from('{}[]":,0123.eE+-\\untrflas id"'), max_size=25))
def test_nothing_passes_that_json_rejects(middle: str) -> None:
    line = f'{{"id":"a",{middle}}}'
    try:
        _, data, _ = LINES.read(line.encode())
    except Malformed:
        return
    assert isinstance(_strict(data.decode()), dict)


def test_a_time_with_a_missing_parent_is_no_time() -> None:
    assert Ndjson("id", "meta.at").read(b'{"id":"a"}') == ("a", b'{"id":"a"}', None)
