"""The statements that compare rows quote every name and compare keys column by column."""

from dataclasses import replace

import msgspec
import pytest

from services.system_api.sources.table.postgresql.shape import Key
from services.system_api.sources.table.postgresql.unordered import comparing
from tests.unit.services.system_api.sources.table.postgresql.test_statements_by_time import BY_TIME

SHAPE = replace(BY_TIME, keys=(Key("a", "text"), Key('b"', "integer")), nullable=('b"',), subject=None)


def test_hashes_follow_a_key() -> None:
    statement, arguments = comparing.hashes(SHAPE, "x%2C,5", 10, with_data=True)
    assert 't."b""" IS NOT NULL AND (t."a", t."b""") > ($1::text::text, $2::text::integer)' in statement
    assert "sha256" in statement
    assert arguments == ["x,", "5", 10]


def test_the_first_hashes_without_data() -> None:
    statement, arguments = comparing.hashes(SHAPE, None, 10, with_data=False)
    assert "sha256" not in statement
    assert 'ORDER BY t."a", t."b"""' in statement
    assert arguments == [10]


def test_contents_of_keys() -> None:
    statement = comparing.contents(SHAPE, 100)
    assert "IN (SELECT w.k0::text, w.k1::integer FROM unnest($1::text[], $2::text[]) w (k0, k1))" in statement
    assert "s.before < $3::bigint" in statement


def test_an_error_has_a_digest_of_its_own() -> None:
    assert comparing.error_digest("a") != comparing.error_digest("b")
    assert len(comparing.error_digest("a")) == 24


@pytest.mark.parametrize(
    ("type_", "text", "data"),
    [
        ("bigint", "17", b"17"),
        ("numeric", "1.50", b"1.50"),
        ("numeric", "NaN", b'"NaN"'),
        ("boolean", "true", b"true"),
        ("integer[]", "{1,2}", b'"{1,2}"'),
        ("text", "17", b'"17"'),
        ("timestamp without time zone", "2026-01-02 03:04:05.5", b'"2026-01-02T03:04:05.5"'),
        ("timestamp with time zone", "2026-01-02 03:04:05.5+00", b'"2026-01-02T03:04:05.5+00:00"'),
        ("timestamp with time zone", "infinity", b'"infinity"'),
    ],
)
def test_a_key_has_the_json_that_its_row_had(type_: str, text: str, data: bytes) -> None:
    assert msgspec.json.encode(comparing.as_json(type_)(text)) == data
