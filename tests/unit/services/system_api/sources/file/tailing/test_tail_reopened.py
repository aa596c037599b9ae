"""A tailed source that is closed and opened again in the same process, as after a pause: no line is lost meanwhile."""

from pathlib import Path

import pytest

from tests.unit.services.system_api.sources.file.file_poller import FilePoller, ManualClock, lines, write


def replace(path: Path, leave: str) -> None:
    """Let a file leave its path, and begin a new one."""
    if leave == "delete":
        path.unlink()
    else:
        (path.parent / "elsewhere").mkdir()
        path.rename(path.parent / "elsewhere" / "x")
    write(path, 100)


@pytest.mark.parametrize("leave", ["delete", "move"])
@pytest.mark.parametrize("when", ["open", "closed"])
async def test_a_file_that_left_is_read_to_its_end_after_a_pause(tmp_path: Path, leave: str, when: str) -> None:
    path, clock = tmp_path / "a.ndjson", ManualClock()
    poller = FilePoller(path, clock)
    write(path, 1)
    with path.open("a") as writer:
        async with poller.opened():
            assert await poller.drain() == lines(1)
            if when == "open":
                replace(path, leave)
                assert await poller.drain() == lines(100)
        if when == "closed":
            replace(path, leave)
        writer.write('{"id":"2"}\n')
        writer.flush()
        async with poller.opened(restarted=False):
            found = [row["id"] for row in await poller.drain()]
            assert sorted(found) == (["100", "2"] if when == "closed" else ["2"])
            writer.write('{"id":"3"}\n')
            writer.flush()
            clock.at += 1
            assert await poller.drain() == lines(3)
    assert poller.losses == []


async def test_a_file_that_was_not_begun_before_the_pause(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    poller = FilePoller(tmp_path / "*.ndjson")
    write(path, *range(10))
    async with poller.opened():
        await poller.poll(0)  # looks, and reads nothing
    path.unlink()
    async with poller.opened(restarted=False):
        assert await poller.drain() == lines(*range(10))
    assert poller.losses == []


async def test_a_failed_run_is_repeated_from_what_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    poller = FilePoller(tmp_path / "*.ndjson")
    write(path, 1)
    async with poller.opened():
        await poller.drain()
        write(path, 2)
        await poller.source.poll(10)  # not committed: the run failed
        path.unlink()
    async with poller.opened(restarted=False):
        assert await poller.drain() == lines(2)
    assert poller.losses == []
