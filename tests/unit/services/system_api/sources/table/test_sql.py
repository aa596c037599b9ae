"""What is said of columns and indexes can be acted on."""

import pytest

from services.system_api.sources.table.sql import no_column, quoted, quoted_table, suggest_index


def test_columns_that_are_there_and_the_likely_one() -> None:
    said = "table orders has no column 'updated'; it has id, updated_at; did you mean 'updated_at'?"
    assert no_column("orders", "updated", ["id", "updated_at"]) == said
    assert no_column("orders", "x", ["id"]) == "table orders has no column 'x'; it has id"


def test_the_statement_to_run(caplog: pytest.LogCaptureFixture) -> None:
    suggest_index("shop.orders", "changed", "id")
    suggest_index("orders", "id", "id", named=True)
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == [
        'CREATE INDEX ON "shop"."orders" ("changed", "id")',
        'CREATE INDEX "orders_id" ON "orders" ("id")',
    ]


def test_names_are_quoted() -> None:
    assert quoted('a"b') == '"a""b"'
    assert quoted_table('Shop.Order "s') == '"Shop"."Order ""s"'
