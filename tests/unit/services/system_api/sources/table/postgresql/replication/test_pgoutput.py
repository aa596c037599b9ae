"""Messages of pgoutput, whole and cut off."""

import pytest

from services.system_api.sources.table.postgresql.replication.pgoutput import (
    MISSING,
    Begin,
    Column,
    Commit,
    Relation,
    RowChange,
    Truncate,
    parse,
)
from shared.errors import Malformed
from tests.unit.services.system_api.sources.table.postgresql.replication import messages

MESSAGES = [
    (messages.begin(9), Begin(9, 7, 5)),
    (messages.commit(9, 12), Commit(12)),
    (
        messages.relation(3, "ö", [("id", 23, True), ("v", 25, False)]),
        Relation(3, "public", "ö", (Column("id", 23, -1, True), Column("v", 25, -1, False))),
    ),
    (messages.insert(3, ["1", None]), RowChange("insert", 3, None, False, [b"1", None])),
    (messages.update(3, None, ["1", "?"]), RowChange("update", 3, None, False, [b"1", MISSING])),
    (messages.update(3, ["0", None], ["1", "x"]), RowChange("update", 3, [b"0", None], False, [b"1", b"x"])),
    (messages.delete(3, ["1", "x"], b"O"), RowChange("delete", 3, [b"1", b"x"], True, None)),
    (messages.truncate(3, 4), Truncate((3, 4))),
    (b"O\0\0\0\0\0\0\0\1name\0", None),
    (b"Y\0", None),
]


@pytest.mark.parametrize(("data", "expected"), MESSAGES)
def test_whole_messages(data: bytes, expected: object) -> None:
    assert parse(data) == expected


@pytest.mark.parametrize("data", [data for data, _ in MESSAGES])
def test_a_message_that_is_cut_off_is_refused_or_lacks_values(data: bytes) -> None:
    for end in range(1, len(data)):
        try:
            found = parse(data[:end])
        except Malformed:
            continue
        assert found is None or isinstance(found, RowChange | Commit)
        if isinstance(found, RowChange) and found.new is not None:
            assert MISSING in found.new


def test_what_is_known_of_a_row_that_is_cut_off() -> None:
    data = messages.update(3, ["1", "x" * 100], ["1", "y" * 100], b"O")
    found = parse(data[:40])
    assert found == RowChange("update", 3, [b"1", MISSING], True, [MISSING, MISSING])
    assert parse(messages.insert(3, ["1", "y" * 100])[:40]) == RowChange("insert", 3, None, False, [b"1", MISSING])


def test_other_messages_are_refused() -> None:
    with pytest.raises(Malformed, match="b'S'; expected those of pgoutput, version 1"):
        parse(b"S\0\0\0\5")
    with pytest.raises(Malformed, match="ends too early"):
        parse(b"R\0\0\0\1public")
