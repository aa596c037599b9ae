"""Values of MariaDB and MySQL as JSON."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from services.system_api.sources.table.mysql.values import (
    Column,
    Encoder,
    as_text,
    key_expression,
    key_json,
    key_rank,
    key_value,
    quoted,
    rank_value,
)


def column(type_: str, name: str = "c") -> Column:
    return Column(name, type_, nullable=True, auto_increment=False)


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        ("bigint", 2**64 - 1, b"18446744073709551615"),
        ("decimal", "12345678901234567890.10", b"12345678901234567890.10"),
        ("float", 0.10000000149011612, b"0.1"),
        ("float", 16777216.0, b"16777216.0"),
        ("float", 1.17549429e-38, b"1.1754943e-38"),
        ("double", 0.30000000000000004, b"0.30000000000000004"),
        ("bit", b"\x01\x00", b"256"),
        ("varbinary", b"\x00\xff", b'"AP8="'),
        ("blob", "text", b'"dGV4dA=="'),
        ("varchar", 'Zo\u00eb "q"', 'Zo\u00eb "q"'),
        ("inet6", b"\x00", b'"AA=="'),
        ("datetime", "2026-01-02 03:04:05.5", b'"2026-01-02T03:04:05.5"'),
        ("timestamp", "2026-01-02 03:04:05", b'"2026-01-02T03:04:05+00:00"'),
        ("date", "2026-01-02", b'"2026-01-02"'),
        ("json", '{"a": [1]}', b'{"a": [1]}'),
        ("int", None, b"null"),
    ],
)
def test_values_are_encoded_without_loss(type_: str, value: Any, expected: Any) -> None:
    data, error = Encoder([column(type_)]).encoded([value])
    assert error is None
    assert data == b'{"c":%b}' % (
        expected if isinstance(expected, bytes) else json.dumps(expected, ensure_ascii=False).encode()
    )


def test_a_number_that_json_cannot_represent_is_an_error() -> None:
    _, error = Encoder([column("int", "a"), column("double", "b")]).encoded([1, float("inf")])
    assert error == "column 'b' is inf, which JSON cannot represent"


def test_a_float_has_at_most_nine_digits() -> None:
    data, _ = Encoder([column("float")]).encoded([112.23756408691406])
    assert data == b'{"c":112.237564}'


def test_columns_are_selected_as_the_client_reads_all_of_their_values() -> None:
    assert column("decimal").selected("t.c") == "CAST(t.c AS CHAR)"
    assert column("float").selected("t.c") == "CAST(t.c AS DOUBLE)"
    assert column("text").selected("t.c") == "t.c"
    assert (column("int").size("t.c"), column("int").bounded) == ("1", False)
    assert column("text").size("t.c") == "IFNULL(OCTET_LENGTH(t.c), 4)"
    assert column("blob").size("t.c") == "IFNULL(OCTET_LENGTH(t.c) * 4 DIV 3, 4)"
    assert column("text").bounded


@pytest.mark.parametrize(
    ("type_", "value", "text"),
    [
        ("int", 5, "5"),
        ("bit", 5, "5"),
        ("binary", b"\x00\xff", "00ff"),
        ("varchar", "a", "a"),
        ("decimal", Decimal("10000000000000000000.10"), "10000000000000000000.10"),
    ],
)
def test_keys_are_text_and_back(type_: str, value: Any, text: str) -> None:
    assert as_text(value) == text
    assert key_value(column(type_), text) == value


def test_key_expressions_and_names() -> None:
    assert as_text(None) is None
    assert key_expression(column("binary"), "t.c") == "LOWER(HEX(t.c))"
    assert key_expression(column("int"), "t.c") == "t.c"
    assert key_expression(column("bit"), "t.c") == "t.c + 0"
    assert (key_rank(column("enum"), "t.c"), rank_value(column("enum"), "é")) == (
        "CAST(CAST(t.c AS CHAR) AS BINARY)",
        "é".encode(),
    )
    assert (key_rank(column("int"), "t.c"), rank_value(column("int"), "5")) == ("t.c", 5)
    assert quoted("we%ird `s") == "`we%%ird ``s`"


@pytest.mark.parametrize(
    ("type_", "text", "data"),
    [
        ("bigint", "17", b"17"),
        ("bit", "256", b"256"),
        ("decimal", "1.50", b"1.50"),
        ("float", "0.10000000149011612", b"0.1"),
        ("double", "0.1", b"0.1"),
        ("varbinary", "00ff", b'"AP8="'),
        ("datetime", "2026-01-02 03:04:05.5", b'"2026-01-02T03:04:05.5"'),
        ("timestamp", "2026-01-02 03:04:05", b'"2026-01-02T03:04:05+00:00"'),
        ("date", "2026-01-02", b'"2026-01-02"'),
        ("varchar", "17", b'"17"'),
    ],
)
def test_a_key_has_the_json_that_its_row_had(type_: str, text: str, data: bytes) -> None:
    assert msgspec.json.encode(key_json(column(type_), text)) == data


def test_a_text_that_is_no_value_of_the_column_is_an_error() -> None:
    for type_ in ("int", "double", "binary"):
        with pytest.raises(ValueError, match=r"invalid literal|could not convert|non-hexadecimal"):
            key_json(column(type_), "A-7")
