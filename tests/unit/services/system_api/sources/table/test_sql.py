"""Errors and advice on columns and indexes say what to do."""

import pytest

from services.system_api.sources.table.sql import (
    check_columns,
    check_distinct,
    check_unique,
    check_view,
    identifiers,
    quoted,
    quoted_table,
    suggest_index,
    unit_error,
)
from shared.errors import SettingsError


@pytest.mark.parametrize(
    ("named", "columns", "error"),
    [
        (
            [("updated_at_column", "updated")],
            ["updated_at"],
            "updated_at_column: table orders has no column 'updated'; it has updated_at; did you mean 'updated_at'?",
        ),
        ([("columns", "x")], ["id"], "columns: table orders has no column 'x'; it has id"),
    ],
)
def test_a_missing_column_is_an_error_with_a_suggestion(
    named: list[tuple[str, str]], columns: list[str], error: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        check_columns("table orders", named, columns)
    assert str(caught.value) == error


def test_columns_that_exist_are_no_error() -> None:
    check_columns("table orders", [("key", "id"), ("columns", "n")], ["id", "n"])


def test_two_columns_of_one_name_are_an_error() -> None:
    check_distinct(["a", "b"])
    with pytest.raises(SettingsError, match="query: found two columns 'a'; give one of them another name with AS"):
        check_distinct(["a", "b", "a"])


def test_a_key_is_unique_if_a_unique_index_is_within_it() -> None:
    check_unique("orders", ["id", "line"], [["n"], ["line"]])
    with pytest.raises(SettingsError, match=r"set `key: \[id, line\]"):
        check_unique("orders", ["id"], [["id", "line"]])
    with pytest.raises(SettingsError, match=r'be missed; make it unique: CREATE UNIQUE INDEX "s_o_id" ON "s"\."o"'):
        check_unique("s.o", ["id"], [])


def test_the_log_has_the_statement_that_creates_the_index(caplog: pytest.LogCaptureFixture) -> None:
    suggest_index("shop.orders", ["changed"], ["id"])
    suggest_index("orders", ["id"], ["id"], named=True)
    suggest_index("orders", ["a", "b"], ["id"], named=True)
    assert [record.__dict__["suggestion"] for record in caplog.records] == [
        'CREATE INDEX ON "shop"."orders" ("changed", "id")',
        'CREATE INDEX "orders_id" ON "orders" ("id")',
        'CREATE INDEX "orders_a_b_id" ON "orders" ((coalesce("a", "b")), "id")',
    ]


def test_names_are_quoted() -> None:
    assert quoted('a"b') == '"a""b"'
    assert quoted_table('Shop.Order "s') == '"Shop"."Order ""s"'


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("orders", ("orders",)),
        ("shop.orders", ("shop", "orders")),
        ('"my.shop"."price ""list"""', ("my.shop", 'price "list"')),
        ('shop."a.b"', ("shop", "a.b")),
        ('Order "s', ('Order "s',)),
        ('"half', ('"half',)),
        ('"a"b', ('"a"b',)),
        ("ä ö%s", ("ä ö%s",)),
    ],
)
def test_a_name_is_divided_at_its_dots(name: str, parts: tuple[str, ...]) -> None:
    assert identifiers(name) == parts


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a..b", "a.b.c", 'a.""', '"a.b".', "a\0b"])
def test_a_name_that_is_no_table_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected a table, or schema\.table"):
        identifiers(name)


def test_a_unit_is_missing_or_has_no_use() -> None:
    assert unit_error("table t", "at", "bigint", number=True).startswith(
        "time_unit: table t: column 'at' is bigint; set what"
    )
    assert unit_error("table t", "at", "date", number=False).endswith("is date, which has no unit; remove `time_unit`")


def test_a_view_of_several_tables_needs_an_overlap() -> None:
    check_view("shown", selection=True)
    with pytest.raises(SettingsError, match=r"^overlap: shown is a view of more than .* `mode: diff`"):
        check_view("shown", selection=False)
