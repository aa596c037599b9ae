"""The statements for an outbox quote every name and compare keys column by column."""

from dataclasses import replace

import pytest

from services.system_api.sources.table.postgresql.shape import Key
from services.system_api.sources.table.postgresql.unordered import removing
from tests.unit.services.system_api.sources.table.postgresql.test_statements_by_time import BY_TIME

SHAPE = replace(BY_TIME, keys=(Key("a", "text"), Key('b"', "integer")), nullable=(), timeless=False, subject=None)
WANTED = "IN (SELECT w.k0::text, w.k1::integer FROM unnest($1::text[], $2::text[]) w (k0, k1))"


def test_rows_that_are_locked_are_skipped() -> None:
    statement = removing.rows(SHAPE, 100)
    assert "LIMIT $2::bigint FOR UPDATE SKIP LOCKED" in statement
    assert "<> ALL ($1)" in statement
    assert "s.before < $3::bigint" in statement


def test_certain_rows_are_read_by_their_keys() -> None:
    statement = removing.rows(SHAPE, 100, only=True)
    assert WANTED in statement
    assert "LIMIT" not in statement


def test_published_rows_are_deleted() -> None:
    assert removing.remove(SHAPE).startswith("DELETE FROM shop.orders t WHERE ")
    assert WANTED in removing.remove(SHAPE)
    assert "WHERE true AND" in removing.unpublished(SHAPE)
    assert WANTED in removing.existing(SHAPE)


@pytest.mark.parametrize(
    ("type_", "value", "condition"),
    [("date", "now()", 't."done" IS NULL'), ("boolean", "true", 't."done" IS NOT true')],
)
def test_or_they_are_marked(type_: str, value: str, condition: str) -> None:
    shape = replace(SHAPE, published="done", published_type=type_, nullable=("a",))
    assert removing.remove(shape).startswith(f'UPDATE shop.orders t SET "done" = {value} WHERE ')
    assert removing.remove(shape).endswith(condition)
    assert removing.remaining(shape).endswith(condition)
    assert f'WHERE t."a" IS NOT NULL AND {condition}' in removing.unpublished(shape)
