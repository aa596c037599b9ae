"""The statements for tables that are ordered by time, for one row, and for rows with a NULL key."""

from dataclasses import replace

from services.system_api.sources.table.ledger import Position
from services.system_api.sources.table.postgresql import statements
from services.system_api.sources.table.postgresql.shape import Shape

BY_TIME = Shape(
    table="shop.orders",
    key="id",
    key_cast="uuid",
    updated_at_column="updated_at",
    updated_at_type="timestamp with time zone",
    time_zone="UTC",
    subject="id",
    columns=None,
    sequence=None,
    nullable=("updated_at", "id"),
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
    statement = statements.data_of_one(BY_TIME, 100)
    assert 'WHERE t."id" = $1::text::uuid' in statement
    assert "> 100 THEN least(" in statement


def test_the_error_of_a_row_with_a_null_key_or_time_names_the_column() -> None:
    statement = statements.null_key_rows(BY_TIME)
    assert 'WHERE t."updated_at" IS NULL OR t."id" IS NULL' in statement
    assert "WHEN t.\"updated_at\" IS NULL THEN 'column ''updated_at'' is NULL'" in statement


def test_the_bound_of_times_is_the_time_of_the_statement() -> None:
    assert statements.bound(BY_TIME) == "SELECT statement_timestamp()"
    local = replace(BY_TIME, updated_at_type="timestamp without time zone", time_zone="Europe/Berlin")
    assert statements.bound(local) == "SELECT statement_timestamp() AT TIME ZONE 'Europe/Berlin'"
