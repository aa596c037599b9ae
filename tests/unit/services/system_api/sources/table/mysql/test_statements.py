"""The statements for MariaDB and MySQL."""

from dataclasses import replace

import pytest

from services.system_api.sources.table.ledger import Position
from services.system_api.sources.table.mysql import statements
from services.system_api.sources.table.mysql.shape import MysqlShape
from services.system_api.sources.table.mysql.values import Column
from services.system_api.sources.table.time_scale import TimeUnit, order_of


def column(name: str, type_: str, *, nullable: bool = False) -> Column:
    return Column(name, type_, nullable=nullable, auto_increment=False)


ID, BODY, AT = column("id", "bigint"), column("body", "text"), column("at", "datetime")
KEYED = MysqlShape("orders", "`shop`.`orders`", (ID, BODY), (ID,), (), None, None, "incremental", True, ())
TIMED = replace(KEYED, times=(AT,), keys=(column("a", "varchar", nullable=True), column("b", "binary")), subject=BODY)


def test_rows_above_a_key() -> None:
    statement, arguments = statements.positions(KEYED, 10, Position(5, "5"), 9)
    assert "WHERE 1 AND t.`id` > %s AND t.`id` < %s" in statement
    assert "ORDER BY t.`id`" in statement
    assert arguments == [5, 9, 10]
    statement, arguments = statements.positions(KEYED, 10, Position(5, None), None)
    assert "t.`id` >= %s" in statement
    assert arguments == [5, 10]
    assert statements.positions(KEYED, 10, None, None)[1] == [10]


def test_rows_above_a_time_and_keys_without_a_row_constructor() -> None:
    statement, arguments = statements.positions(TIMED, 10, Position(1_500_000, "x%2C,00ff"), 2_000_000)
    at, text = "2000-01-01 00:00:01.500000", "x,"
    assert (
        "t.`a` IS NOT NULL AND t.`at` >= '1000-01-01' AND t.`at` >= %s AND (t.`at` > %s OR (t.`at` = %s AND"
        " (t.`a` > %s OR (t.`a` = %s AND t.`b` > %s)))) AND t.`at` < %s" in " ".join(statement.split())
    )
    assert arguments == [at, at, at, text, text, b"\x00\xff", "2000-01-01 00:00:02.000000", 10]
    assert "SHA2" in statement


def test_rows_are_counted_within_two_times() -> None:
    statement, arguments = statements.count_between(TIMED, 1_500_000, 2_000_000)
    assert statement.endswith("t.`at` >= '1000-01-01' AND t.`at` >= %s AND t.`at` < %s")
    assert arguments == ["2000-01-01 00:00:01.500000", "2000-01-01 00:00:02.000000"]


def test_hashes_follow_a_key() -> None:
    shape = replace(KEYED, way="diff")
    statement, arguments = statements.following(shape, 10, "5")
    assert "t.`id` > %s" in statement
    assert "SHA2" in statement
    assert arguments == [5, 10]
    assert statements.following(shape, 10, None)[1] == [10]


def test_keys_that_are_ordered_in_another_way_than_compared() -> None:
    shape = replace(KEYED, way="diff", keys=(column("kind", "enum"), ID))
    statement, arguments = statements.following(shape, 10, "paid,5")
    rank = "CAST(CAST(t.`kind` AS CHAR) AS BINARY)"
    assert f"({rank} > %s OR ({rank} = %s AND t.`id` > %s))" in statement
    assert f"ORDER BY {rank}, t.`id`" in statement
    assert arguments == [b"paid", b"paid", 5, 10]
    assert statements.contents(shape, ["paid,5"], cut=False)[1] == ["paid", 5]


@pytest.mark.parametrize("cut", [False, True])
def test_contents_of_keys(cut: bool) -> None:
    statement, arguments = statements.contents(KEYED, ["5", "6"], cut=cut)
    assert "t.`id` IN (%s, %s)" in statement
    assert arguments == [5, 6]
    assert ("LEFT(t.`body`" in statement) == cut
    statement, arguments = statements.contents(TIMED, ["x,00", "y,01"], cut=cut)
    assert "(t.`a` = %s AND t.`b` = %s) OR (t.`a` = %s AND t.`b` = %s)" in statement
    assert arguments == ["x", b"\x00", "y", b"\x01"]


def test_rows_without_a_key_or_a_time() -> None:
    assert not statements.may_have_null_keys(KEYED)
    assert statements.may_have_null_keys(TIMED)
    assert statements.may_have_null_keys(replace(KEYED, keys=(column("a", "int", nullable=True),)))
    statement, arguments = statements.null_key_rows(TIMED, 5)
    assert "CASE WHEN t.`a` IS NULL THEN 0 ELSE -1 END" in statement
    assert arguments == [5]
    assert "SELECT -1" in statements.null_key_rows(replace(TIMED, keys=(ID,)), 5)[0]


def test_the_clock_and_the_latest_time() -> None:
    assert statements.latest(KEYED).endswith(", NULL")
    assert "MAX(t.`at`)" in statements.latest(TIMED)


@pytest.mark.parametrize(
    ("published", "condition", "change"),
    [
        (None, "WHERE 1", "DELETE t FROM `shop`.`orders` t WHERE t.`id` IN (%s)"),
        (column("done", "tinyint"), "IFNULL(t.`done`, 0) = 0", "SET t.`done` = 1 WHERE"),
        (column("done", "datetime"), "t.`done` IS NULL", "SET t.`done` = UTC_TIMESTAMP(6) WHERE"),
    ],
)
def test_an_outbox(published: Column | None, condition: str, change: str) -> None:
    shape = replace(KEYED, way="outbox", published=published)
    statement, _ = statements.unpublished(shape, 5, skip_locked=True)
    assert condition in statement
    assert statement.endswith("FOR UPDATE SKIP LOCKED")
    assert "FOR UPDATE" not in statements.unpublished(shape, 5, skip_locked=False)[0]
    statement, arguments = statements.remove(shape, ["7"])
    assert change in statement
    assert arguments == [7]
    assert statements.places(shape, ["7"])[1] == [7, 1]
    statement, arguments = statements.remaining(shape, ["7"])
    assert "t.`id` IN (%s)" in statement
    assert published is None or f" AND {condition}" in statement
    assert arguments == [7, 1]


@pytest.mark.parametrize(
    ("type_", "unit", "order", "value"),
    [("date", None, 5, "2000-01-06"), ("bigint", "seconds", 5, 5), ("double", "seconds", order_of(1.5), 1.5)],
)
def test_times_of_other_types(type_: str, unit: TimeUnit | None, order: int, value: object) -> None:
    shape = replace(KEYED, times=(column("at", type_), column("made", type_)), time_unit=unit)
    statement, arguments = statements.positions(shape, 10, None, order)
    assert "COALESCE(t.`at`, t.`made`) < %s" in statement.replace("coalesce", "COALESCE")
    assert arguments == [value, 10]
