"""Whole files of every format: each record once, in order, across crashes; broken files are kept and reported."""

import gzip
import json
import random
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.unit.services.system_api.sources.file.document_files import KINDS, Kind, csv, dropping, rows
from tests.unit.services.system_api.sources.file.file_poller import FilePoller, until

every_kind = pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])


@every_kind
async def test_each_record_is_an_event_in_order(kind: Kind, tmp_path: Path) -> None:
    kind.write(tmp_path / kind.name, rows(30))
    poller = dropping(tmp_path, kind.name, **kind.options, drop={"receipt": True})
    async with poller.opened():
        assert await poller.drain(7) == kind.expected(rows(30))
        assert poller.problems == []
        receipt = tmp_path / f"{kind.name}.receipt.json"
        await until(receipt.exists)
    assert poller.rejects == []
    assert len(set(poller.ids)) == 30
    found = json.loads(receipt.read_bytes())
    assert (found["rows"], found["rejects"], found["bytes"]) == (30, 0, (tmp_path / kind.name).stat().st_size)
    assert await poller.drain_reopened() == []


@every_kind
async def test_after_crashes_it_resumes_behind_the_last_record_that_was_committed(kind: Kind, tmp_path: Path) -> None:
    kind.write(tmp_path / kind.name, rows(60))
    whole = dropping(tmp_path, kind.name, **kind.options)
    async with whole.opened():
        await whole.drain()
    rng = random.Random(7)
    poller = dropping(tmp_path, kind.name, **kind.options)
    while len(poller.data) < 60:
        async with poller.opened():
            for _ in range(rng.randrange(3)):
                await poller.poll(rng.randrange(1, 9))
            await poller.source.poll(rng.randrange(1, 30))  # lost
    async with poller.opened():
        await poller.drain()
    assert poller.data == kind.expected(rows(60))
    assert [one.partition(":")[2] for one in poller.ids] == [one.partition(":")[2] for one in whole.ids]
    assert poller.rejects == []


@every_kind
async def test_a_file_of_another_format_is_kept_and_reported(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / kind.name
    path.write_bytes(b"\x00\x01 this is nothing that anybody reads \xff\n" * 100)
    poller = dropping(tmp_path, kind.name, **kind.options, drop={"after": "archive"})
    async with poller.opened():
        await poller.drain()
        assert (poller.data, len(poller.problems)) == ([], int(not poller.rejects))
    assert path.exists() or poller.rejects


@pytest.mark.parametrize("kind", [each for each in KINDS if each.name.endswith((".gz", ".bz2", ".zst", ".json"))],
                         ids=lambda each: each.name)  # fmt: skip
async def test_of_a_file_that_is_cut_off_the_records_before_are_published_once(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / kind.name
    kind.write(path, rows(3000))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    poller = dropping(tmp_path, kind.name, **kind.options, drop={"after": "delete"})
    async with poller.opened():
        await poller.drain(100)
        assert len(poller.problems) == 1
        assert "not read to its end" in poller.problems[0]
    assert path.exists()
    before = list(poller.data)
    assert before == kind.expected(rows(len(before)))
    assert len(before) < 3000
    assert await poller.drain_reopened() == []
    # The writer goes on, so that what was read is still there.
    path.write_bytes(whole)
    await poller.drain_reopened(100)
    assert poller.data == kind.expected(rows(3000))


async def test_an_archive_names_its_files_in_ids_and_rejects(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("one.csv", "id,b\n1,2\nbroken\n")
        archive.writestr("two.csv", "id,b\n1,2\n")
        archive.writestr("readme.txt", "no rows")
    poller = dropping(tmp_path, "a.zip", format="csv", zip={"members": "*.csv"})
    async with poller.opened():
        assert await poller.drain() == [{"id": "1", "b": "2"}] * 2
    assert len(set(poller.ids)) == 2
    (reject,) = poller.rejects
    assert reject.error == f"{tmp_path}/a.zip/one.csv, line 3, bytes 9-14: found 1 fields; expected 2"


async def test_a_record_that_readers_refuse_is_rejected_and_the_rest_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[{"id":"1"},{"id":"2","n":1e400},{"n":1},7,{"id":"3"}]')
    poller = dropping(tmp_path, "a.json", line_limit=64)
    async with poller.opened():
        assert await poller.drain() == [{"id": "1"}, {"id": "3"}]
    assert [reject.error.partition(": ")[2] for reject in poller.rejects] == [
        "n, byte 14: found the number 1e400; expected at most 1.8e308, the range of a double",
        "member 'id': the subject is missing, null or empty",
        "Expected `object`, got `int`",
    ]
    assert poller.rejects[0].error.startswith(f"{tmp_path}/a.json, record 1, bytes 12-31: ")
    assert poller.rejects[0].value == b'{"id":"2","n":1e400}'


async def test_a_record_above_the_limit_is_rejected_with_its_beginning(tmp_path: Path) -> None:
    large = json.dumps({"id": "x", "text": "x" * 300_000})
    (tmp_path / "a.json").write_text(f'[{{"id":"1"}},{large},{{"id":"2"}}]')
    poller = dropping(tmp_path, "a.json", line_limit=100_000, drop={"after": "delete"})
    async with poller.opened():
        assert await poller.drain() == [{"id": "1"}, {"id": "2"}]
    (reject,) = poller.rejects
    assert reject.value == large.encode()[:65_536]
    assert f"found a record of {len(large)} bytes, the limit is 100000" in reject.error
    assert (tmp_path / "a.json").exists()


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.zst", "a.csv.bz2", "a.json"])
async def test_an_empty_file_is_kept_and_reported(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    poller = dropping(tmp_path, name, drop={"after": "delete"})
    async with poller.opened():
        await poller.drain()
        assert "found an empty" in poller.problems[0]
    assert (tmp_path / name).exists()


async def test_without_the_extra_the_setting_says_which_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.csv.zst").write_bytes(csv(rows(1)))
    poller = dropping(tmp_path, "a.csv.zst")
    async with poller.opened():
        await poller.drain()
        assert poller.problems == [
            "compression: zstd needs the package 'pyarrow', which is not installed: pip install 'trelay[files]'"
        ]


@pytest.mark.parametrize(
    ("name", "content", "options", "expected"),
    [
        ("a.ndjson", b'\n{"id":"1"}\n{"id":"2"}\n', {"mode": "tail"}, [(2, "1-10", None), (3, "12-21", None)]),
        ("a.csv", b"id\n1\n22\n", {}, [(2, "3-3", None), (3, "5-6", None)]),
        ("a.csv.gz", gzip.compress(b"id\n1\n22\n"), {}, [(2, "3-3", None), (3, "5-6", None)]),
        ("a.json", b'[{"id":"1"},{"id":"2"}]', {}, [(None, None, 0), (None, None, 1)]),
    ],
)
async def test_an_event_says_where_it_comes_from(
    name: str, content: bytes, options: dict[str, Any], expected: list[Any], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    origin = ["file", "record"] if name == "a.json" else ["file", "line", "bytes"]
    given = options or {"drop": {"stable_seconds": 0}, "mode": "drop"}
    async with FilePoller(tmp_path / name, origin=origin, **given).opened() as poller:
        records = (await poller.poll()).records
    events = [json.loads(record.value or b"") for record in records]
    assert [(event.get("line"), event.get("bytes"), event.get("record")) for event in events] == expected
    assert {event["file"] for event in events} == {f"{tmp_path}/{name}"}
