"""Rows without a key are dead-lettered once in each state, and forgotten when they are corrected."""

import pytest

from services.system_api.sources.table.null_key_rows import LIMIT, PART, NullKeyRow, NullKeyRows
from shared.errors import SettingsError


def rows(*digests: str) -> list[NullKeyRow]:
    return [NullKeyRow(digest, b"{}", "column 'id' is NULL") for digest in digests]


def test_each_row_is_new_once() -> None:
    null_key_rows = NullKeyRows({})
    fresh, saved = null_key_rows.take(rows("a", "b", "b"))
    assert [row.digest for row in fresh] == ["a", "b"]
    assert saved == {PART: b'["a","b"]'}
    assert null_key_rows.take(rows("a", "b")) == ([], {})
    again = NullKeyRows(saved)
    fresh, _ = again.take(rows("a", "b", "c"))
    assert [row.digest for row in fresh] == ["c"]


def test_what_is_saved_is_what_is_known() -> None:
    null_key_rows = NullKeyRows({})
    assert null_key_rows.saved() == {}
    _, saved = null_key_rows.take(rows("b", "a"))
    assert null_key_rows.saved() == saved == {PART: b'["a","b"]'}


def test_a_corrected_row_is_forgotten() -> None:
    null_key_rows = NullKeyRows({PART: b'["a","b"]'})
    assert null_key_rows.take(rows("b")) == ([], {PART: b'["b"]'})
    assert [row.digest for row in null_key_rows.take(rows("a", "b"))[0]] == ["a"]


def test_more_rows_than_can_be_remembered_are_not_dead_lettered() -> None:
    null_key_rows = NullKeyRows({})
    many = rows(*(f"{number:04}" for number in range(LIMIT + 1)))
    fresh, _ = null_key_rows.take(many)
    assert (len(fresh), null_key_rows.overflowing) == (LIMIT, True)
    assert null_key_rows.take(list(reversed(many))) == ([], {})
    fresh, _ = null_key_rows.take(many[500:])
    assert ([row.digest for row in fresh], null_key_rows.overflowing) == (["1000"], False)


def test_a_part_of_another_kind_is_an_error() -> None:
    with pytest.raises(SettingsError, match="not that of a table"):
        NullKeyRows({PART: b"{}"})
