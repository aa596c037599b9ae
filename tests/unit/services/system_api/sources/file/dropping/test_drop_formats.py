"""Whole files of another format than the settings say: read, or refused with a reason, never archived without a row."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from tests.unit.services.system_api.sources.file.file_poller import FilePoller, dropping, until


@pytest.mark.parametrize("after", ["archive", "delete"])
async def test_rows_that_end_in_carriage_returns_are_read(tmp_path: Path, after: str) -> None:
    path, poller = tmp_path / "stock.csv", dropping(tmp_path, pattern="*.csv", after=after)
    path.write_bytes(b"id,name,qty\r1,apple,3\r2,pear,4\r3,plum,5")
    async with poller.opened():
        await poller.poll(1)
    async with poller.opened():
        await poller.drain()
        await until(lambda: not path.exists())
    assert [(row["id"], row["name"], row["qty"]) for row in poller.data] == [
        ("1", "apple", "3"),
        ("2", "pear", "4"),
        ("3", "plum", "5"),
    ]
    assert not poller.rejects


async def test_a_byte_order_mark_before_a_header_with_a_line_break_is_skipped(tmp_path: Path) -> None:
    poller = FilePoller(tmp_path / "*.csv", subject="order\nid")
    for name, mark in (("bom", b"\xef\xbb\xbf"), ("nobom", b"")):
        (tmp_path / f"{name}.csv").write_bytes(mark + b'"order\nid","name"\n"1","x"\n2,y\n')
    assert await poller.drain_reopened() == [{"order\nid": "1", "name": "x"}, {"order\nid": "2", "name": "y"}] * 2
    assert not poller.problems


@pytest.mark.parametrize("mode", ["drop", "tail"])
@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.csv", gzip.compress(b"id\n1\n"), "gzip-compressed data"),
        ("a.ndjson", gzip.compress(b'{"id":"1"}\n'), "gzip-compressed data"),
        ("a.csv", "id\n1\n".encode("utf-16"), "text in UTF-16"),
        ("a.csv", "id\n1\n".encode("utf-16-le"), "text in UTF-16 without a byte order mark"),
    ],
)
async def test_what_is_no_utf8_text_is_refused_and_stays(
    tmp_path: Path, mode: str, name: str, content: bytes, found: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    drop: dict[str, Any] = {"drop": {"stable_seconds": 0, "after": "delete"}} if mode == "drop" else {}
    async with FilePoller(path, mode=mode, **drop).opened() as poller:
        assert await poller.drain() == []
        assert await poller.drain() == []
        assert poller.problems == [f"{path}: found {found}; expected text in UTF-8"]
    assert not poller.rejects
    assert path.read_bytes() == content


@pytest.mark.parametrize("after", ["keep", "archive", "delete"])
async def test_a_file_without_a_single_event_stays_and_is_a_problem(tmp_path: Path, after: str) -> None:
    path, poller = tmp_path / "a.ndjson", dropping(tmp_path, after=after)
    path.write_text("id,name\n1,apple\n")
    for _ in range(2):
        assert await poller.drain_reopened() == []
        async with poller.opened():
            await poller.drain()
            await poller.poll()
            (problem,) = poller.problems
            assert problem == (
                f"{path}: none of its lines became an event, 2 are in the dead letter topic; the file stays:"
                " correct the file or the settings, and touch the file to have it read again"
            )
    assert path.exists()
    assert len(poller.rejects) == 2
    path.write_text('{"id":"1"}\n')
    async with poller.opened():
        assert await poller.drain() == [{"id": "1"}]
        await poller.poll()
        assert not poller.problems


async def test_a_stray_quote_costs_one_row_of_a_thousand(tmp_path: Path) -> None:
    path = tmp_path / "b.csv"
    good = [f"{number},good" for number in range(2, 2002)]
    path.write_text("\n".join(["id,txt", "0,fine", '1,"open', *good[:1000], '2002,"quoted"', *good[1000:]]) + "\n")
    poller = dropping(tmp_path, pattern="*.csv", after="archive")
    rows = await poller.drain_reopened()
    assert len(rows) == 2002
    assert "quoted" in [row["txt"] for row in rows]
    assert [reject.value for reject in poller.rejects] == [b'1,"open']
    assert "b.csv, line 3, " in poller.rejects[0].error
