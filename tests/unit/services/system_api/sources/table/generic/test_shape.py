"""Tables that can be read, and those that cannot."""

from typing import Any

import pytest
from sqlalchemy import types
from sqlalchemy.dialects import oracle

from services.system_api.sources.table.generic.dialects import ORACLE
from services.system_api.sources.table.generic.shape import Found, GenericShape, shape_of
from services.system_api.sources.table.options import TableSourceOptions
from shared.errors import SettingsError

COLUMNS: list[tuple[str, types.TypeEngine[Any]]] = [
    ("id", oracle.NUMBER(10, 0)),  # type: ignore[no-untyped-call]
    ("ref", types.VARCHAR(20)),
    ("anything", oracle.NUMBER()),  # type: ignore[no-untyped-call]
    ("changed", oracle.TIMESTAMP()),
    ("made", oracle.DATE()),
    ("at", oracle.TIMESTAMP(timezone=True)),
    ("picture", types.LargeBinary()),
]


def shape(
    *, view: bool = False, unique: tuple[str, ...] = ("id", "ref", "anything", "picture"), **more: Any
) -> GenericShape:
    given = {"kind": "table", "url": "oracle://a@db/S", "table": "orders", "type": "t", "overlap": 5, **more}
    found = Found(COLUMNS, [[name] for name in unique], view=view)
    return shape_of(found, TableSourceOptions.model_validate(given), ORACLE)


def test_a_table_that_is_read_by_its_key() -> None:
    found = shape(subject="ref", columns=["id", "made"])
    assert found == GenericShape(("id",), (True,), (), None, "ref", ("id", "made"), "key:id:id")


def test_a_table_that_is_read_by_time() -> None:
    found = shape(key=["ref", "id"], updated_at_column="changed", time_zone="Europe/Berlin")
    assert (found.keys, found.numbers, found.times, found.time_kind) == (
        ("ref", "id"),
        (False, True),
        ("changed",),
        "local",
    )
    assert found.columns == tuple(name for name, _ in COLUMNS)
    assert found.mode == "time:changed:ref,id"
    assert shape(updated_at_column="made", time_zone="UTC").time_kind == "seconds"
    assert shape(updated_at_column="at").time_kind == "zoned"


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"key": "nothing"}, "key: table orders has no column 'nothing'"),
        ({"unique": ("ref",)}, "nothing keeps two rows from having the same 'id'"),
        ({"key": "picture", "updated_at_column": "at"}, "key: table orders: column 'picture' is LargeBinary"),
        ({"key": "ref"}, "in whose order rows do not grow"),
        ({"key": "anything"}, "in whose order rows do not grow"),
        ({"updated_at_column": "ref"}, "expected TIMESTAMP, with or without a time zone, or DATE"),
        ({"updated_at_column": ["changed", "made"], "time_zone": "UTC"}, "the columns have several types"),
        ({"updated_at_column": "changed"}, "time_zone: table orders: column 'changed' has no time zone"),
        ({"updated_at_column": "at", "time_zone": "UTC"}, "time_zone: table orders: no column needs it"),
        ({"time_zone": "UTC"}, "time_zone: table orders: no column needs it"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value[:40],
)
def test_what_cannot_be_read_is_refused(more: dict[str, Any], error: str) -> None:
    with pytest.raises(SettingsError) as raised:
        shape(**more)
    assert error in str(raised.value)


def test_the_rows_of_a_view_have_no_unique_key() -> None:
    assert shape(view=True, unique=()).keys == ("id",)
