"""The statements for tables that are ordered by time, for one row, and for rows with a NULL key."""

from dataclasses import replace

from services.system_api.sources.table.ledger import Position
from services.system_api.sources.table.postgresql import statements
from services.system_api.sources.table.postgresql.shape import Key, Shape
from services.system_api.sources.table.time_scale import order_of

BY_TIME = Shape(
    table="shop.orders",
    relation="shop.orders",
    keys=(Key("id", "uuid"),),
    times=("updated_at",),
    order_type="timestamptz",
    time_zone="UTC",
    subject="id",
    columns=None,
    sequence=None,
    nullable=("id",),
    timeless=True,
    versioned=True,
)
LIMITS = statements.ReadLimits(10, 1000, 100)


def test_rows_are_ordered_by_the_time_and_then_by_the_key() -> None:
    statement, arguments = statements.rows(BY_TIME, LIMITS, Position(7, "k"), below=None, emitted=["v k"])
    assert '(t."updated_at", t."id") > ($1::timestamptz, $2::text::uuid)' in statement
    assert 't."updated_at" IS NOT NULL AND t."id" IS NOT NULL' in statement
    assert "(t.xmin::text || ' ' || t.\"id\"::text) <> ALL ($3::text[])" in statement
    assert 'ORDER BY t."updated_at", t."id"\n' in statement
    assert arguments == [(7,), "k", ["v k"], 10, 1000]


def test_a_time_becomes_an_order_value_in_the_zone_of_the_column() -> None:
    local = replace(BY_TIME, order_type="timestamp")
    assert statements.order_at(local) == "SELECT $1::text::timestamptz AT TIME ZONE 'UTC'"
    assert statements.order_at(BY_TIME) == "SELECT $1::text::timestamptz"
    assert "AT TIME ZONE" in statements.order_at(replace(BY_TIME, order_type="date"))


def test_rows_are_counted_within_two_order_values() -> None:
    counted, arguments = statements.count_between(BY_TIME, 5, 9)
    assert 't."updated_at" IS NOT NULL AND t."id" IS NOT NULL' in counted
    assert 't."updated_at" >= $1::timestamptz AND t."updated_at" < $2::timestamptz' in counted
    assert arguments == [(5,), (9,)]


def test_order_values_are_passed_in_the_type_of_the_column() -> None:
    assert statements.order_value(replace(BY_TIME, order_type="bigint", time_unit="seconds"), 5) == 5
    floating = replace(BY_TIME, order_type="float8", time_unit="seconds")
    assert statements.order_value(floating, order_of(1.5)) == 1.5
    assert statements.order_value(replace(BY_TIME, order_type="date"), 5) == (5,)


def test_of_several_times_the_first_that_is_not_null_counts() -> None:
    shape = replace(BY_TIME, times=("updated_at", "created_at"), nullable=())
    statement, _ = statements.rows(shape, LIMITS, Position(7, "k"), below=9, emitted=[])
    assert '(coalesce(t."updated_at", t."created_at"), t."id") > ($1::timestamptz, $2::text::uuid)' in statement
    assert 'coalesce(t."updated_at", t."created_at") < $3::timestamptz' in statement
    assert shape.mode == "by updated_at, created_at (timestamptz)"
    assert "'column ''updated_at, created_at'' is NULL'" in statements.null_key_rows(shape)


def test_a_key_of_several_columns_is_compared_column_by_column() -> None:
    shape = replace(BY_TIME, keys=(Key("a", "text"), Key("b", "integer")), subject=None)
    statement, arguments = statements.rows(shape, LIMITS, Position(7, "x%2Cy,5"), below=None, emitted=["v k"])
    assert '(t."updated_at", t."a", t."b") > ($1::timestamptz, $2::text::text, $3::text::integer)' in statement
    assert 'ORDER BY t."updated_at", t."a", t."b"\n' in statement
    assert arguments[:3] == [(7,), "x,y", "5"]
    assert statements.key_text(shape) == (
        "(replace(replace(t.\"a\"::text, '%', '%25'), ',', '%2C') || ',' || "
        "replace(replace(t.\"b\"::text, '%', '%25'), ',', '%2C'))"
    )


def test_without_xmin_the_time_distinguishes_the_states_of_a_row() -> None:
    statement, _ = statements.rows(replace(BY_TIME, versioned=False), LIMITS, None, below=None, emitted=[])
    assert 't."updated_at"::text AS version' in statement


def test_only_the_configured_columns_are_read() -> None:
    statement, _ = statements.rows(replace(BY_TIME, columns=("id", "a b")), LIMITS, None, below=None, emitted=[])
    assert 'row_to_json(c.*) FROM (SELECT t."id", t."a b") c' in statement


def test_without_data_only_the_position_is_read() -> None:
    statement, _ = statements.rows(BY_TIME, LIMITS, None, below=None, emitted=[], with_data=False)
    assert "row_to_json" not in statement
    assert "NULL::text AS subject" in statement


def test_one_row_is_read_by_its_key() -> None:
    statement, arguments = statements.data_of_one(BY_TIME, 100, "k")
    assert 'WHERE t."id" = $1::text::uuid' in statement
    assert "> 100 THEN least(" in statement
    assert arguments == ["k"]


def test_the_error_of_a_row_with_a_null_key_or_time_names_the_column() -> None:
    statement = statements.null_key_rows(BY_TIME)
    assert 'WHERE t."updated_at" IS NULL OR t."id" IS NULL' in statement
    assert "WHEN t.\"updated_at\" IS NULL THEN 'column ''updated_at'' is NULL'" in statement
