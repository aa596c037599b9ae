"""Where a source starts that was never started before; later starts continue at the saved position."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.system_api.sources.file.options import FileSourceOptions
from shared.errors import Unavailable
from tests.unit.services.system_api.sources.file.file_poller import FilePoller, dropping, lines, until, write

OPTIONS = {"kind": "file", "path": "in/orders.ndjson", "type": "order.updated", "subject": "id"}


def aged(path: Path, second: int, *numbers: int) -> None:
    """Write a file that was modified at a second since 1970."""
    write(path, *numbers)
    os.utime(path, (second, second))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("beginning", "beginning"),
        ("end", "end"),
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T13:00:00+01:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
    ],
)
def test_places_to_start_from(given: str, expected: object) -> None:
    assert FileSourceOptions.model_validate(OPTIONS | {"start": given}).start == expected


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("now", "found 'now'; expected 'beginning', 'end', or a time with its offset, such as 2026-01-31T12:00:00Z"),
        ("2026-01-31T12:00:00", "found '2026-01-31T12:00:00', which has no offset; expected"),
        (7, "found '7'; expected 'beginning'"),
    ],
)
def test_a_place_that_is_none_is_refused(given: object, error: str) -> None:
    with pytest.raises(ValidationError, match=error):
        FileSourceOptions.model_validate(OPTIONS | {"start": given})


async def test_at_the_end_of_a_growing_file_only_what_is_added_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    poller = FilePoller(path, start="end", origin=["line"])
    write(path, *range(3000))
    write(path, 5, end="")  # this line is complete later: it is read whole
    async with poller.opened():
        assert await poller.drain(100) == []
        with path.open("a") as file:
            file.write("\nno JSON\n")
        write(path, 6)
        assert await poller.drain() == lines(5, 6)
    assert ["line 3002," in reject.error for reject in poller.rejects] == [True]
    assert poller.losses == []
    write(path, 3)
    assert await poller.drain_reopened() == lines(3)


async def test_a_crash_before_the_end_is_reached_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    poller = FilePoller(path, start="end")
    write(path, *range(5000))
    async with poller.opened():
        await poller.poll(10)
        await poller.source.poll(10)  # lost
    write(path, 1, 2)
    async with poller.opened():
        await poller.poll(10)
    write(path, 3)
    await poller.drain_reopened()
    assert poller.data == lines(1, 2, 3)


async def test_the_header_and_quoted_newlines_of_a_csv_file_are_read_on_the_way(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    poller = FilePoller(path, start="end", skip_lines=1, line_limit=64)
    path.write_text(f'export of today\nid,note\n1,"two\nlines"\n2,{"x" * 100}\n3,"last\n')
    async with poller.opened():
        assert await poller.drain() == []
        with path.open("a") as file:
            file.write('row"\n4,new\n')
        assert [row["id"] for row in await poller.drain()] == ["3", "4"]
    assert poller.rejects == []
    assert [part["begin"] < part["offset"] for part in poller.files.values()] == [True]


async def test_files_that_appear_later_are_read_whole_also_after_a_restart(tmp_path: Path) -> None:
    poller = FilePoller(tmp_path / "*.ndjson", start="end")
    async with poller.opened():
        assert await poller.drain() == []
    aged(tmp_path / "later.ndjson", 100, 1, 2)
    assert await poller.drain_reopened() == lines(1, 2)


async def test_a_single_file_that_does_not_exist_at_the_first_look_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    poller = FilePoller(path, start="end")
    async with poller.opened():
        await poller.poll()
        with pytest.raises(Unavailable, match="no such file"):
            await poller.poll()
    write(path, 1)
    assert await poller.drain_reopened() == lines(1)


async def test_since_a_time_the_files_are_read_that_were_modified_since_then(tmp_path: Path) -> None:
    poller = FilePoller(tmp_path / "*.ndjson", start="1970-01-01T00:03:20Z")
    aged(tmp_path / "old.ndjson", 199, 1)
    aged(tmp_path / "new.ndjson", 200, 2)
    async with poller.opened():
        assert await poller.drain() == lines(2)
        write(tmp_path / "old.ndjson", 3)
        assert await poller.drain() == lines(3)


async def test_a_file_that_was_replaced_before_its_end_was_reached_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    poller = FilePoller(path, start="end")
    write(path, *range(10))
    async with poller.opened():
        await poller.poll(0)  # looks, and reads nothing
        path.unlink()
        write(path.with_name("other"), *range(20))
        path.with_name("other").rename(path)
    assert await poller.drain_reopened() == lines(*range(20))


async def test_a_file_that_was_truncated_before_its_end_was_reached_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    poller = FilePoller(path, start="end")
    write(path, *range(10))
    async with poller.opened():
        await poller.poll(0)  # looks, and reads nothing
    write(path, 7, mode="w")
    assert await poller.drain_reopened() == lines(7)
    assert poller.losses == []


@pytest.mark.parametrize("after", ["keep", "archive", "delete"])
async def test_complete_files_that_were_there_first_are_neither_read_nor_finished(tmp_path: Path, after: str) -> None:
    write(tmp_path / "old.ndjson", 1)
    poller = dropping(tmp_path, after=after, start="end")
    async with poller.opened():
        assert await poller.drain() == []
        aged(tmp_path / "new.ndjson", 100, 2)
        assert await poller.drain() == lines(2)
        await until(lambda: after == "keep" or not (tmp_path / "new.ndjson").exists())
    assert await poller.drain_reopened() == []
    assert (tmp_path / "old.ndjson").exists()
    write(tmp_path / "old.ndjson", 3)
    assert await poller.drain_reopened() == lines(1, 3), "it has changed: it is a new file"


async def test_files_that_are_not_complete_at_the_first_look_are_read_whole(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", 1)
    write(tmp_path / "b.ndjson", 2)
    (tmp_path / "a.ndjson.done").touch()
    async with dropping(tmp_path, ready="done-file", start="end").opened() as poller:
        assert await poller.drain() == []
        (tmp_path / "b.ndjson.done").touch()
        assert await poller.drain() == lines(2)


async def test_a_file_that_is_being_written_at_the_first_look_is_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "a.ndjson").open("w") as file:
        file.write('{"id":"1"}\n')
        file.flush()
        poller = dropping(tmp_path, start="end")
        async with poller.opened():
            assert await poller.drain() == []
    assert await poller.drain_reopened() == lines(1)


async def test_documents_that_were_there_first_are_not_read(tmp_path: Path) -> None:
    poller = FilePoller(tmp_path / "*.json", mode="drop", drop={"ready": "renamed"}, start="end")
    (tmp_path / "a.json").write_text('[{"id":"1"}]')
    async with poller.opened():
        assert await poller.drain() == []
        (tmp_path / "b.json").write_text('[{"id":"2"}]')
        assert await poller.drain() == lines(2)
        (tmp_path / "copy").write_bytes((tmp_path / "a.json").read_bytes())
        stat = (tmp_path / "a.json").stat()
        os.utime(tmp_path / "copy", ns=(stat.st_mtime_ns, stat.st_mtime_ns))
        (tmp_path / "copy").rename(tmp_path / "a.json")
        assert await poller.drain() == [], "it is the same file on a disk that was mounted again"
