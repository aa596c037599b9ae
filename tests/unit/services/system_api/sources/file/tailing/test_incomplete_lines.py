"""Lines without an end: what waits, since when, and what becomes of the rows behind an open quote."""

from pathlib import Path

from services.system_api.sources.file.filesystem import FileStat
from services.system_api.sources.file.reading.jobs import Job
from services.system_api.sources.file.reading.opened import IncompleteLine
from services.system_api.sources.file.tailing.incomplete_lines import IncompleteLines
from tests.unit.services.system_api.sources.file.file_poller import FilePoller, ManualClock, write


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


async def test_a_line_without_an_end_waits_after_a_moment(tmp_path: Path) -> None:
    path, clock = tmp_path / "a.ndjson", ManualClock()
    write(path, 1)
    append(path, '{"id"')
    async with FilePoller(path, clock).opened() as poller:
        await poller.drain()
        assert poller.waiting == []
        clock.at += 5
        await poller.drain()
        assert poller.waiting == [f"{path}: line 2: its end has not come yet (5 bytes)"]
        append(path, ':"2')
        await poller.drain()
        assert poller.waiting == [f"{path}: line 2: its end has not come yet (8 bytes)"]
        append(path, '"}\n')
        await poller.drain()
        assert poller.waiting == []
    assert len(poller.data) == 2


def test_a_forgotten_file_waits_no_longer() -> None:
    lines = IncompleteLines()
    lines.note(Job(FileStat("a.csv", 1, 2, 30, 0), "id"), IncompleteLine(offset=9, line=2, size=5, behind=3), 0.0)
    assert len(lines.waiting(60.0)) == len(lines.problems(60.0)) == len(list(lines.due(60.0))) == 1
    lines.forget("id")
    assert (lines.waiting(60.0), lines.problems(60.0), list(lines.due(60.0))) == ([], [], [])
    assert not lines.abandons("id", 60.0)


async def test_rows_behind_a_stray_quote_come_after_a_minute(tmp_path: Path) -> None:
    path, clock = tmp_path / "a.csv", ManualClock()
    path.write_text('id,txt\n0,fine\n1,"open\n2,good\n3,good\n')
    async with FilePoller(path, clock).opened() as poller:
        assert [row["id"] for row in await poller.drain()] == ["0"]
        clock.at += 59
        await poller.drain()
        (waiting,) = poller.waiting
        assert waiting.startswith(f"{path}: line 3: a quote is open; 2 lines behind it wait until it is closed or the")
        assert poller.problems == []
        clock.at += 1
        assert [row["id"] for row in await poller.drain()] == ["2", "3"]
        assert (poller.waiting, poller.problems) == ([], [])
        assert [reject.value for reject in poller.rejects] == [b'1,"open']
        append(path, "4,good\n")
        assert [row["id"] for row in await poller.drain()] == ["4"]
    assert await poller.drain_reopened() == []


async def test_an_open_quote_with_other_lines_behind_it_is_a_problem_after_a_minute(tmp_path: Path) -> None:
    path, clock = tmp_path / "a.csv", ManualClock()
    path.write_text('id,txt\n0,fine\n1,"Dear all\nmany thanks\n')
    async with FilePoller(path, clock).opened() as poller:
        await poller.drain()
        for _ in range(2):
            clock.at += 60
            assert await poller.drain() == []
            assert poller.problems == poller.waiting
            assert poller.problems[0].startswith(f"{path}: line 3: a quote is open; 1 lines behind it wait")
        append(path, 'bye"\n')
        assert [row["txt"] for row in await poller.drain()] == ["Dear all\nmany thanks\nbye"]
        assert (poller.waiting, poller.problems) == ([], [])


async def test_of_many_incomplete_lines_the_first_are_named(tmp_path: Path) -> None:
    clock = ManualClock()
    for number in range(70):
        append(tmp_path / f"{number}.csv", 'id,txt\n1,"open\n2,good\n')
    async with FilePoller(tmp_path / "*.csv", clock).opened() as poller:
        await poller.drain()
        clock.at += 6
        await poller.drain()
        assert (len(poller.waiting), poller.waiting[-1]) == (21, "and 50 more lines like these")
        clock.at += 60
        assert len(await poller.drain()) == 70
        assert poller.waiting == []


async def test_a_source_with_a_file_that_cannot_be_read_is_not_caught_up(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("key\n1\n")
    async with FilePoller(tmp_path / "*.csv").opened() as poller:
        await poller.drain()
        assert poller.waiting == ["1 files that cannot be read; see problems"]
        (tmp_path / "a.csv").unlink()
        await poller.drain()
        assert poller.waiting == []
