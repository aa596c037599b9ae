"""The rows that changes become."""

from typing import Any

import pytest

from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.postgresql.replication.changes import ChangedRow, ChangedRows, wanted_of
from services.system_api.sources.table.postgresql.replication.pgoutput import MISSING, Column, Relation
from services.system_api.sources.table.postgresql.replication.transactions import Change, Place
from shared.errors import SettingsError

RELATION = Relation(
    3, "public", "orders", (Column("id", 1042, 9, True), Column("yes", 16, -1, False), Column("v", 25, -1, False))
)


def rows(kind: Any, old: Any, new: Any, *, size: int = 10, **options: Any) -> list[ChangedRow]:
    settings = {"kind": "table", "url": "postgresql://db/shop", "table": "orders", "type": "order"}
    changed = ChangedRows(TableSourceOptions.model_validate(settings | {"mode": "replication"} | options), 1000)
    change = Change(Place(255, 2), 5, 7, kind, None if kind == "truncate" else RELATION, old, new, size)
    found = list(changed.of(change))
    assert list(changed.of(change)) == found
    return found


def test_an_insert_is_a_state_of_the_row() -> None:
    (row,) = rows("insert", None, [b"a    ", b"t", None], key=["id", "yes"])
    assert (row.kind, row.key, row.subject, row.version, row.columns) == (
        "state",
        "a,true",
        "a,true",
        "ff.2",
        (0, 1, 2),
    )
    assert wanted_of([row]) == [(RELATION, (0, 1, 2), [b"a    ", b"t", None])]
    (row,) = rows("insert", None, [b"a    ", b"f", b"x"], subject="yes", columns=["v"])
    assert (row.key, row.subject, row.columns) == ("a", "false", (2,))


@pytest.mark.parametrize(
    ("type_", "value", "text"),
    [
        (16, b"t", "true"),
        (1042, b"a ", "a"),
        (869, b"10.0.0.1", "10.0.0.1/32"),
        (869, b"10.0.0.0/8", "10.0.0.0/8"),
        (869, b"::1", "::1/128"),
        (25, b"10.0.0.1 ", "10.0.0.1 "),
        (70_000, b"a ", "a "),
        (70_001, b"a ", "a"),
    ],
)
def test_a_key_is_the_text_that_a_cast_makes(type_: int, value: bytes, text: str) -> None:
    relation = Relation(3, "public", "orders", (Column("id", type_, -1, True),))
    settings = {"kind": "table", "url": "postgresql://db/shop", "table": "orders", "type": "order"}
    changed = ChangedRows(TableSourceOptions.model_validate(settings | {"mode": "replication"}), 1000)
    changed.bases[70_001] = 1042
    (row,) = changed.of(Change(Place(255, 2), 5, 7, "insert", relation, None, [value], 10))
    assert (row.key, row.subject) == (text, text)


def test_the_types_that_are_not_known() -> None:
    settings = {"kind": "table", "url": "postgresql://db/shop", "table": "orders", "type": "order"}
    changed = ChangedRows(TableSourceOptions.model_validate(settings | {"mode": "replication"}), 1000)
    insert = Change(Place(255, 2), 5, 7, "insert", RELATION, None, [b"a", b"t", None], 10)
    truncate = Change(Place(255, 3), 5, 7, "truncate", None)
    assert changed.unknown([insert, insert, truncate]) == {16, 25, 1042}
    changed.bases |= {16: 16, 25: 25, 1042: 1042}
    assert changed.unknown([insert]) == set()


def test_a_delete_has_the_key() -> None:
    (row,) = rows("delete", [b"a", MISSING, MISSING], None, columns=["v"])
    assert (row.kind, row.key, row.columns, row.error) == ("deleted", "a", (0,), None)


def test_an_update_of_the_key_is_a_delete_as_well() -> None:
    before, after = rows("update", [b"a", MISSING, MISSING], [b"b", b"t", b"x"])
    assert (before.kind, before.key, before.version) == ("deleted", "a", "ff.2d")
    assert (after.kind, after.key, after.version) == ("state", "b", "ff.2")
    assert [row.kind for row in rows("update", [b"a", b"t", b"y"], [b"a", b"t", b"x"])] == ["state"]


def test_a_truncation_is_of_all_rows() -> None:
    (row,) = rows("truncate", None, None)
    assert (row.kind, row.key, row.subject) == ("truncated", None, "orders")
    assert wanted_of([row]) == []


@pytest.mark.parametrize(
    ("new", "size", "options", "error"),
    [
        ([None, b"t", b"x"], 10, {}, "column 'id' is NULL"),
        ([MISSING, b"t", b"x"], 10, {}, "column 'id' is not in the log: set REPLICA IDENTITY FULL"),
        ([b"a", b"t", MISSING], 10, {"subject": "v"}, "column 'v' is not in the log: set REPLICA IDENTITY FULL"),
        ([b"a", b"t", MISSING], 1001, {}, "found a change of 1001 bytes in the log, the limit of a row is 1048576"),
    ],
)
def test_what_cannot_be_an_event(new: Any, size: int, options: Any, error: str) -> None:
    (row,) = rows("insert", None, new, size=size, **options)
    assert row.error == error
    assert wanted_of([row]) == []


def test_a_column_that_is_gone_is_an_error_of_the_settings() -> None:
    with pytest.raises(SettingsError, match=r"columns: table orders had no column 'w' in the log.*it had id, yes, v"):
        rows("insert", None, [b"a", b"t", b"x"], columns=["w"])
