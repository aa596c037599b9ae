"""Files that no path of the source leads to any more: found, read to their end, or named as a loss."""

import shutil
from pathlib import Path

import pytest

from services.system_api.sources.file import opening as opening_module
from services.system_api.sources.file.held_files import DescriptorBudget, Retained
from tests.unit.services.system_api.sources.file.file_poller import FilePoller, ManualClock, lines, write


@pytest.mark.parametrize("place", ["in/a.1", "in/old/a.1", "old/a.1"])
async def test_a_file_that_is_rotated_while_the_source_is_closed_is_found(tmp_path: Path, place: str) -> None:
    path, target = tmp_path / "in" / "a.ndjson", tmp_path / place
    path.parent.mkdir()
    poller = FilePoller(path)
    write(path, 1, 2)
    assert await poller.drain_reopened() == lines(1, 2)
    write(path, 3)
    target.parent.mkdir(exist_ok=True)
    path.rename(target)
    write(path, 4)
    async with poller.opened():
        assert await poller.drain() == lines(3, 4)
        write(target, 5)
        assert await poller.drain() == lines(5)
    write(target, 6)
    assert await poller.drain_reopened() == lines(6)
    assert not poller.losses


async def test_a_file_that_is_gone_after_the_source_was_closed_is_a_loss_that_is_named_once(tmp_path: Path) -> None:
    path, clock, far = tmp_path / "in" / "a.ndjson", ManualClock(), tmp_path / "x" / "y" / "z"
    path.parent.mkdir()
    far.mkdir(parents=True)
    poller = FilePoller(path, clock, forget_hours=1)
    write(path, 1)
    await poller.drain_reopened()
    write(path, 2)
    path.rename(far / "a")
    write(path, 3)
    async with poller.opened():
        assert await poller.drain() == lines(3)
        assert not poller.losses, "it may come back"
        clock.at += 6
        assert await poller.drain() == []
        text = (
            f"{path}: gone while it was not open; it was read up to byte 11, and what was written behind that, if"
            " anything, is lost"
        )
        assert [loss.text for loss in poller.losses] == poller.problems == [text]
        clock.at += 3000
        await poller.drain()
        assert poller.problems == [text]
        clock.at += 1000
        await poller.drain()
        assert poller.problems == []
    async with poller.opened():
        await poller.drain()
        clock.at += 6
        await poller.drain()
    assert len(poller.losses) == 1


async def test_a_lost_file_that_comes_back_is_read_on(tmp_path: Path) -> None:
    path, clock, far = tmp_path / "in" / "a.ndjson", ManualClock(), tmp_path / "x" / "y" / "z"
    path.parent.mkdir()
    far.mkdir(parents=True)
    poller = FilePoller(tmp_path / "in" / "*.ndjson", clock)
    write(path, 1)
    await poller.drain_reopened()
    path.rename(far / "a")
    async with poller.opened():
        await poller.drain()
        clock.at += 6
        await poller.drain()
        assert len(poller.problems) == 1
        write(far / "a", 2)
        (far / "a").rename(path)
        assert await poller.drain() == lines(2)
        assert poller.problems == []
        path.rename(far / "a")
        write(far / "a", 3)
        assert await poller.drain() == lines(3)
    assert len(poller.losses) == 1


async def test_a_deleted_file_is_read_until_its_writer_closes_it(tmp_path: Path) -> None:
    path, clock = tmp_path / "a.ndjson", ManualClock()
    write(path, 1)
    async with FilePoller(tmp_path / "*.ndjson", clock, forget_hours=1).opened() as poller:
        await poller.drain()
        with path.open("a") as writer:
            path.unlink()
            for number in (2, 3):
                clock.at += 5000
                assert await poller.drain() == []
                assert poller.waiting == [f"{path}: deleted, and still open for writing by another process"]
                writer.write(f'{{"id":"{number}"}}\n')
                writer.flush()
                assert await poller.drain() == lines(number)
            writer.write('{"id":"4"}')
        assert await poller.drain() == []
        clock.at += 6
        assert await poller.drain() == lines(4)
        assert await poller.drain() == []
        assert not poller.waiting
    assert await poller.drain_reopened() == []
    assert not poller.losses


@pytest.mark.parametrize("reopened", [True, False])
async def test_lines_that_only_the_copy_of_a_truncated_file_has_are_read(tmp_path: Path, reopened: bool) -> None:
    path, copy, clock = tmp_path / "a.ndjson", tmp_path / "a.ndjson.1", ManualClock()
    poller = FilePoller(path, clock)
    write(path, 1, 2)
    async with poller.opened():
        await poller.drain()
        if not reopened:
            write(path, 3)
            shutil.copy(path, copy)
            write(path, 4, mode="w")
            assert await poller.drain() == lines(3, 4)
    if reopened:
        write(path, 3)
        shutil.copy(path, copy)
        write(path, 4, mode="w")
        assert await poller.drain_reopened() == lines(3, 4)
    write(path, 5)
    assert await poller.drain_reopened() == lines(5)
    assert not poller.losses


async def test_a_file_that_was_rewritten_while_the_source_was_closed_is_a_loss(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    poller = FilePoller(path)
    write(path, 1, 2)
    async with poller.opened():
        await poller.drain()
        write(path, 3, mode="w")
        assert await poller.drain() == lines(3)
    assert not poller.losses, "it was watched"
    write(path, 4, 5, mode="w")
    assert await poller.drain_reopened() == lines(4, 5)
    (loss,) = poller.losses
    assert loss.text.startswith(f"{path}: rewritten while Trelay did not watch it, and no copy of its earlier contents")


async def test_a_file_that_leaves_while_it_is_not_held_is_found_or_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening_module, "RETAINED", Retained(DescriptorBudget(0)))
    folder, clock = tmp_path / "in", ManualClock()
    folder.mkdir()
    for number in range(100):
        write(folder / f"{number}.ndjson", number)
    async with FilePoller(folder / "*.ndjson", clock).opened() as poller:
        await poller.drain()
        paths = [folder / f"{number}.ndjson" for number in range(100)]
        for number, path in enumerate(paths):
            write(path, 1000 + number)
        (folder / "old").mkdir()
        for path in paths[::2]:
            path.rename(folder / "old" / path.name)
        for path in paths[1::2]:
            path.unlink()
        for _ in range(4):
            await poller.drain()
            clock.at += 6
    read = {int(each["id"]) - 1000 for each in poller.data}
    assert read.issuperset(range(0, 100, 2)), "those that were moved are found"
    named = " ".join(loss.text for loss in poller.losses)
    unread = [path for number, path in enumerate(paths) if number not in read]
    assert len(unread) >= 18
    for path in unread:
        assert f"{path}: gone while it was not open; it was read up to byte " in named
