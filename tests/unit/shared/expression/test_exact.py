"""Which numbers JSONata would alter, compared with JSONata itself."""

import json
from decimal import Decimal
from typing import Any

import jsonatapy
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import Malformed
from shared.expression import exact
from shared.expression.exact import inexact, number, ordered, value

WHOLE = st.one_of(
    st.integers(), st.integers(2**53 - 9, 2**53 + 9), st.integers(2**63 - 9, 2**64 + 9), st.integers(-(2**70), 2**70)
)
DIGITS = st.text("0123456789", min_size=1, max_size=22)


@st.composite
def written_numbers(draw: st.DrawFn) -> str:
    """Numbers in forms that people use and Python does not."""
    text = str(draw(WHOLE))
    if draw(st.booleans()):
        text += "." + draw(DIGITS)
    if draw(st.booleans()):
        text += draw(st.sampled_from(["e", "E", "e+", "e-", "E-"])) + str(draw(st.integers(0, 330)))
    return text


def exactly(text: str) -> Any:
    return json.loads(text, parse_int=Decimal, parse_float=Decimal)


@given(written_numbers())
@example("9007199254740993")
@example("-92831935481882920000")
@example("9223372036854775808")
@example("1.2345678901234e18")
@example("0.12345678901234567")
@example("1e400")
@example("1e-400")
@example("1e99999999999999999999")
def test_a_number_that_jsonata_alters_is_found(text: str) -> None:
    document = f'{{"a":[{text}],"b":"x"}}'
    try:
        passed = jsonatapy.compile("$").evaluate_json_or_none(document)
    except ValueError:
        return  # refused with an error, so no number is altered
    assert passed is not None
    if exactly(passed) != exactly(document):
        assert inexact(document.encode()) == text.encode()


@given(st.one_of(st.integers(-(2**53), 2**53).map(str), st.floats(-1e9, 1e9).map(lambda number: f"{number:.6f}")))
@example("1795395166783123")
@example("0.1")
@example("-0")
@example("100000e3")
def test_a_number_that_jsonata_keeps_is_not_reported(text: str) -> None:
    assert inexact(f'{{"a":{text}}}'.encode()) is None


@pytest.mark.parametrize(
    "text",
    [
        '{"card":"4111111111111111"}',
        '{"note":"order 9007199254740993 is late"}',
        '{"quote":"\\"9007199254740993"}',
        '{"9007199254740993":1}',
        '{"hex":"5e999"}',
        '{"uuid":"12e4567e-89b1-42e3-a456-426614174000"}',
        '{"version":"1.2.3.4.5.6.7.8.9.10"}',
    ],
)
def test_digits_in_strings_are_safe(text: str) -> None:
    assert inexact(text.encode()) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a":"9007199254740993","b":9007199254740993}', "9007199254740993"),
        ("[1,-9007199254740993]", "-9007199254740993"),
        ("9007199254740993", "9007199254740993"),
        ('{"a":{"b":[{"c":0.1234567890123456789}]}}', "0.1234567890123456789"),
        ('{"a":"\\\\","b":1e400}', "1e400"),
    ],
)
def test_the_altered_number_is_returned(text: str, found: str) -> None:
    assert inexact(text.encode()) == found.encode()


@given(written_numbers())
def test_decoding_keeps_every_number_exactly(text: str) -> None:
    found = value(f'{{"a":{text}}}'.encode())["a"]
    again = msgspec.json.Encoder(decimal_format="number").encode(found)
    assert Decimal(again.decode()) == Decimal(text)


def test_decoding_gives_floats_where_they_are_exact() -> None:
    found = value(b'{"a":1.5,"b":9007199254740993,"c":0.12345678901234567}')
    assert found == {"a": 1.5, "b": 9007199254740993, "c": Decimal("0.12345678901234567")}
    assert (type(found["a"]), type(found["b"]), type(found["c"])) == (float, int, Decimal)


@pytest.mark.parametrize("text", ["1" * 5000, "1e99999999999999999999"])
def test_a_number_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match="out of range"):
        value(text.encode())


def test_a_single_number_out_of_range_is_refused() -> None:
    with pytest.raises(Malformed, match="out of range"):
        number(b"1e99999999999999999999")


@given(written_numbers(), written_numbers())
@example("0.1", "0.1000000000000000")
@example("0.1", "0.10000000000000001")
@example("9007199254740992", "9007199254740993")
def test_numbers_are_compared_as_written(one: str, other: str) -> None:
    left, right = ordered(number(one.encode()), number(other.encode()))
    assert (left < right, left == right) == (Decimal(one) < Decimal(other), Decimal(one) == Decimal(other))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", 7),
        ("7.0", 7),
        ("-0.0", 0),
        ("1e3", 1000),
        ("0e999999999", 0),
        ("1e308", 10**308),
        ("7.5", None),
        ("0.1", None),
        ("123456789012345678901.5", None),
        ("1e309", None),
        ("-1e999999999", None),
        ("1e-999999999", None),
    ],
)
def test_a_number_is_whole_or_not(text: str, expected: int | None) -> None:
    assert exact.whole(value(text.encode())) == expected


@pytest.mark.parametrize("number", [float("inf"), float("nan"), Decimal("NaN")])
def test_no_number_is_not_whole(number: Any) -> None:
    assert exact.whole(number) is None


def test_values_are_comparable_as_json() -> None:
    texts = [b"true", b"1", b"[1]", b'{"a": true}', b'{"a": 1}', b"0.1", b"0.10000000000000000001", b"null", b'"1"']
    found = [exact.comparable(value(text)) for text in texts]
    assert [one == other for one in found for other in found] == [one == other for one in texts for other in texts]
    assert exact.comparable(value(b'{"a": 1.0, "b": 0.10}')) == exact.comparable(value(b'{"b": 1e-1, "a": 1}'))
    deep = exact.comparable(value(b"[" * 512 + b"]" * 512))
    assert isinstance(deep, list)


@pytest.mark.parametrize(
    ("token", "kept"),
    [(b"7", True), (b"9007199254740993", False), (b"0.1", True), (b"1-2", True), (b"1e99999999999999999999", False)],
)
def test_a_token_is_kept_unless_it_is_a_number_that_would_be_altered(token: bytes, kept: bool) -> None:
    assert exact._kept(token) is kept


VALUES = st.recursive(
    st.one_of(written_numbers(), st.text(max_size=5).map(json.dumps), st.sampled_from(["true", "false", "null"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(st.sampled_from(["a", "b", '"']), inner, max_size=2).map(
            lambda members: f"{{{', '.join(f'{json.dumps(name)}: {text}' for name, text in members.items())}}}"
        ),
    ),
    max_leaves=4,
)


@given(VALUES, VALUES)
@example("1.0", "1")
@example("[-0.0]", "[0]")
@example('"0.1"', "0.1")
@example('{"a": "0.12345678901234567891"}', '{"a": 0.12345678901234567891}')
@example("1e400", "10e399")
@example("true", "1")
def test_equal_values_have_one_canonical_text_and_others_have_others(one: str, other: str) -> None:
    def shown(text: str) -> Any:
        return exact.comparable(exactly(text))

    same = shown(one) == shown(other)
    assert (exact.canonical(one.encode()) == exact.canonical(other.encode())) is same
    assert shown(exact.canonical(one.encode()).decode()) == shown(one)
