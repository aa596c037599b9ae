"""When a dropped file is complete: not while somebody writes to it."""

from pathlib import Path
from typing import Any

import pytest

from services.system_api.sources.file.dropping import readiness as module
from tests.unit.services.system_api.sources.file.file_poller import FilePoller, ManualClock, lines, until, write


def dropping(folder: Path, clock: ManualClock, **drop: Any) -> FilePoller:
    return FilePoller(folder / "*.ndjson", clock, mode="drop", drop=drop)


@pytest.mark.parametrize("after", ["keep", "archive", "delete"])
async def test_with_the_defaults_a_file_is_not_read_while_its_writer_pauses(tmp_path: Path, after: str) -> None:
    path, clock = tmp_path / "a.ndjson", ManualClock()
    async with dropping(tmp_path, clock, after=after).opened() as poller:
        with path.open("a") as writer:
            writer.write('{"id":"1"}\n{"id":"12')
            writer.flush()
            await poller.drain()
            assert poller.waiting == [f"{path}: it is taken when it has not changed for 5 s"]
            for _ in range(3):
                clock.at += 100
                assert await poller.drain() == []
                assert poller.waiting == [f"{path}: open for writing by another process"]
            writer.write('34"}\n')
        await poller.drain()
        clock.at += 4.9
        assert await poller.drain() == []
        clock.at += 0.1
        assert await poller.drain() == lines(1, 1234)
        assert poller.waiting == []
        await until(lambda: path.exists() is (after == "keep"))
    assert not poller.problems


async def test_where_writers_are_not_seen_a_file_must_be_unchanged_for_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "is_local", lambda _: False)
    clock = ManualClock()
    write(tmp_path / "a.ndjson", 1)
    async with dropping(tmp_path, clock).opened() as poller:
        await poller.drain()
        clock.at += 59
        assert await poller.drain() == []
        assert poller.waiting == [f"{tmp_path}/a.ndjson: it is taken when it has not changed for 60 s"]
        clock.at += 1
        assert await poller.drain() == lines(1)
    write(tmp_path / "b.ndjson", 2)
    async with dropping(tmp_path, clock, stable_seconds=2).opened() as poller:
        await poller.drain()
        clock.at += 2
        assert await poller.drain() == lines(1, 2)


async def test_a_file_without_its_done_file_waits_for_it(tmp_path: Path) -> None:
    clock = ManualClock()
    for number in range(25):
        write(tmp_path / f"{number:02}.ndjson", number)
    async with dropping(tmp_path, clock, ready="done-file").opened() as poller:
        await poller.drain()
        assert (len(poller.waiting), poller.waiting[-1]) == (21, "and 5 more files like these")
        assert poller.waiting[0] == f"{tmp_path}/00.ndjson: there is no 00.ndjson.done yet"
        (tmp_path / "07.ndjson.done").touch()
        assert await poller.drain() == lines(7)


async def test_a_file_that_is_gone_or_cannot_be_opened_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, clock = tmp_path / "a.ndjson", ManualClock()
    write(path, 1)
    async with dropping(tmp_path, clock, stable_seconds=5).opened() as poller:
        await poller.drain()
        assert len(poller.waiting) == 1
        monkeypatch.setattr(module, "open_file", lambda *_: None)
        clock.at += 5
        assert await poller.drain() == lines(1), "reading names the problem"
        write(tmp_path / "b.ndjson", 1)
        await poller.drain()
        (tmp_path / "b.ndjson").unlink()
        await poller.drain()
        assert poller.waiting == []
