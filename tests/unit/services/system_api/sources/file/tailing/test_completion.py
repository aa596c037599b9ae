"""Files that are deleted while the source is closed: no loss where all was read, and nothing more was expected."""

import itertools
import os
from pathlib import Path

import pytest

from services.system_api.sources.file.tailing import completion as completion_module
from services.system_api.sources.file.tailing.completion import grows_no_more
from tests.unit.services.system_api.sources.file.file_poller import FilePoller, ManualClock, lines, write

DAY = 86_400


class Calendar(ManualClock):
    """A clock whose wall-clock time is its own as well."""

    def time(self) -> float:
        return self.at


async def rest(poller: FilePoller, clock: ManualClock, seconds: float = 6) -> None:
    """Read what is there, and look once more after a while."""
    await poller.drain()
    clock.at += seconds
    await poller.drain()


async def lost(poller: FilePoller, clock: ManualClock) -> list[str]:
    """Open the source, and return what it names as lost."""
    async with poller.opened():
        for _ in range(3):
            await rest(poller, clock)
    return [loss.text for loss in poller.losses]


@pytest.mark.parametrize("named", [True, False])
async def test_a_rotated_file_that_was_read_to_its_end_is_no_loss(tmp_path: Path, named: bool) -> None:
    path, rotated, clock = tmp_path / "a.ndjson", tmp_path / "a.ndjson.1", ManualClock()
    poller = FilePoller(path, clock, rotated=f"{path}.*" if named else None)
    write(path, 1, 2)
    async with poller.opened():
        await poller.drain()
        path.rename(rotated)
        write(path, 3)
        await rest(poller, clock)
    rotated.unlink()
    write(path, 4)
    assert await lost(poller, clock) == []
    assert poller.data == lines(1, 2, 3, 4)


async def test_it_is_no_loss_either_after_it_was_rotated_again(tmp_path: Path) -> None:
    path, clock = tmp_path / "a.ndjson", ManualClock()
    poller = FilePoller(path, clock, rotated=f"{path}.*")
    write(path, 1)
    async with poller.opened():
        await poller.drain()
        path.rename(f"{path}.1")
        write(path, 2)
        await rest(poller, clock)
    Path(f"{path}.1").rename(f"{path}.2")
    path.rename(f"{path}.1")
    write(path, 3)
    async with poller.opened():
        await rest(poller, clock)
    Path(f"{path}.2").unlink()
    Path(f"{path}.1").unlink()
    assert await lost(poller, clock) == []
    assert poller.data == lines(1, 2, 3)


async def test_what_may_be_lost_is_named(tmp_path: Path) -> None:
    """The file where it is written to, and rotated ones that were not read to their end, or are open for writing."""
    path, clock = tmp_path / "a.ndjson", ManualClock()
    poller = FilePoller(path, clock, rotated=f"{path}.*")
    write(path, 1)
    async with poller.opened():
        await poller.drain()
        path.rename(f"{path}.2")
        write(path, 2)
        await poller.drain()
        with path.open("a"):
            path.rename(f"{path}.1")
            write(path, 3)
            await rest(poller, clock)
            write(Path(f"{path}.2"), 4, end="")
            await rest(poller, clock)
    write(tmp_path / "new", 5)  # while no inode is free
    for each in (path, Path(f"{path}.1"), Path(f"{path}.2")):
        each.unlink()
    (tmp_path / "new").rename(path)
    text = (
        "gone while it was not open; it was read up to byte 11, and what was written behind that, if anything, is lost"
    )
    found = await lost(poller, clock)
    assert sorted(found) == sorted(f"{each}: {text}" for each in (path, f"{path}.1", f"{path}.2"))


async def test_a_rotated_file_that_grows_again_is_complete_once_more_after_that(tmp_path: Path) -> None:
    path, rotated, clock = tmp_path / "a.ndjson", tmp_path / "a.ndjson.1", ManualClock()
    poller = FilePoller(path, clock)
    write(path, 1)
    async with poller.opened():
        await poller.drain()
        path.rename(rotated)
        await rest(poller, clock)
        assert [known["complete"] for known in poller.files.values()] == [True]
        write(rotated, 2)
        await poller.drain()
        assert ["complete" in known for known in poller.files.values()] == [False]
        await rest(poller, clock)
        assert [known["complete"] for known in poller.files.values()] == [True]
        write(rotated, 3, end="")
        await poller.drain()
        assert ["complete" in known for known in poller.files.values()] == [False], "its last line is not read"
    assert poller.data == lines(1, 2)


async def test_a_rotated_file_that_is_put_back_is_not_complete(tmp_path: Path) -> None:
    path, rotated, clock = tmp_path / "a.ndjson", tmp_path / "a.ndjson.1", ManualClock()
    poller = FilePoller(path, clock, rotated=f"{path}.*")
    write(path, 1)
    async with poller.opened():
        await poller.drain()
        path.rename(rotated)
        await rest(poller, clock)
        rotated.rename(path)
        await rest(poller, clock)
    write(tmp_path / "new", 2)  # while its inode is not free
    (tmp_path / "new").rename(path)
    (text,) = await lost(poller, clock)
    assert text.startswith(f"{path}: gone while it was not open")


async def test_where_writers_are_not_seen_a_file_is_complete_after_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion_module, "is_local", lambda _path: False)
    path, clock = tmp_path / "a.ndjson", ManualClock()
    poller = FilePoller(path, clock, rotated=f"{path}.*")
    write(path, 1)
    async with poller.opened():
        await poller.drain()
        path.rename(f"{path}.1")
        await rest(poller, clock, 59)
        assert ["complete" in known for known in poller.files.values()] == [False]
        await rest(poller, clock, 2)
        assert [known["complete"] for known in poller.files.values()] == [True]


@pytest.mark.parametrize("age", [0.9 * DAY, 1.1 * DAY])
async def test_a_log_of_a_day_is_complete_a_day_after_its_last_change(tmp_path: Path, age: float) -> None:
    old, new, clock = tmp_path / "a-1.ndjson", tmp_path / "a-2.ndjson", Calendar()
    clock.at = 100 * DAY
    poller = FilePoller(tmp_path / "a-*.ndjson", clock)
    write(old, 1)
    os.utime(old, (clock.at, clock.at))
    async with poller.opened():
        await rest(poller, clock)
        clock.at += age
        write(new, 2)
        os.utime(new, (clock.at, clock.at))
        await rest(poller, clock)
        await rest(poller, clock)
    old.unlink()
    assert len(await lost(poller, clock)) == (0 if age > DAY else 1)


async def test_many_files_are_examined_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion_module, "_AT_ONCE", 3)
    path, clock = tmp_path / "a.ndjson", ManualClock()
    poller = FilePoller(path, clock, rotated=f"{path}.*")
    write(path, 0)
    async with poller.opened():
        for number in range(1, 11):
            await poller.drain()
            path.rename(f"{path}.{number}")
            write(path, number)
        for _ in range(10):
            await rest(poller, clock)
        assert sum("complete" in known for known in poller.files.values()) == 10
    assert poller.data == lines(*range(11))


async def test_of_many_old_files_one_look_examines_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion_module, "_AT_ONCE", 3)
    clock = Calendar()
    clock.at = 100 * DAY
    poller = FilePoller(tmp_path / "a-*.ndjson", clock)
    for number in range(10):
        write(tmp_path / f"a-{number}.ndjson", number)
        os.utime(tmp_path / f"a-{number}.ndjson", (clock.at - 2 * DAY,) * 2)
    counts = []
    async with poller.opened():
        for _ in range(8):
            await rest(poller, clock)
            counts.append(sum("complete" in known for known in poller.files.values()))
    assert counts[-1] == 10
    assert all(later - earlier <= 6 for earlier, later in itertools.pairwise([0, *counts])), "two looks each"


def test_a_deleted_file_waits_longer_where_its_writers_are_not_known() -> None:
    assert [grows_no_more(quiet, written=False) for quiet in (5, 6)] == [False, True]
    assert [grows_no_more(quiet, written=None) for quiet in (60, 61)] == [False, True]
    assert not grows_no_more(DAY, written=True)
