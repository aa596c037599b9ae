"""What is read when the folder changes: files that cannot be read, held or found stop no other."""

import os
from pathlib import Path

import pytest

from services.system_api.sources.file import held_files as held_module
from services.system_api.sources.file import opening as opening_module
from services.system_api.sources.file.filesystem import FileError, open_verified
from services.system_api.sources.file.held_files import DescriptorBudget, Retained
from services.system_api.sources.file.reading import disk as disk_module
from services.system_api.sources.source import Loss
from tests.unit.services.system_api.sources.file.descriptors import until_few
from tests.unit.services.system_api.sources.file.file_poller import FilePoller, ManualClock, write


@pytest.mark.parametrize("limit", [0, 10])
async def test_a_file_that_is_deleted_before_its_turn_is_read_if_it_is_held_or_else_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(opening_module, "RETAINED", Retained(DescriptorBudget(limit)))
    clock = ManualClock()
    for name in "abcd":
        write(tmp_path / f"{name}.ndjson", *range(10))
        os.utime(tmp_path / f"{name}.ndjson", (ord(name), ord(name)))
    async with FilePoller(tmp_path / "*.ndjson", clock).opened() as poller:
        await poller.poll(5)
        (tmp_path / "a.ndjson").unlink()
        (tmp_path / "b.ndjson").unlink()
        (tmp_path / "c.ndjson").rename(tmp_path / "e.ndjson")
        clock.at += 1
        await poller.drain()
    if limit:
        assert len(poller.data) == 40
        assert not poller.losses
        return
    assert len(poller.data) == 30
    assert poller.losses == [Loss(f"{tmp_path}/b.ndjson: gone before it was opened, with 110 bytes", 110)]
    assert poller.losses[0].text in poller.problems


async def test_unusable_files_are_not_opened_again(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number}.csv").write_text("x,y\n1,2\n")
    async with FilePoller(tmp_path / "*.csv", ManualClock()).opened() as poller:
        await poller.drain()
        assert len(poller.problems) == 40
        assert not (await poller.poll()).more
        assert len(poller.problems) == 40


async def test_more_files_than_may_be_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening_module, "RETAINED", Retained(DescriptorBudget(40)))
    poller = FilePoller(tmp_path / "**" / "*.ndjson")
    for folder in ("a", "b/c"):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(100):
            write(tmp_path / folder / f"{number}.ndjson", number)
    async with poller.opened():
        assert len(await poller.drain(30)) == 200
        await until_few(tmp_path, 104)  # 40 are held, and 64 have a parser
        assert poller.problems[0].startswith("96 files are not held open, because the process may hold 40: ")
        for number in range(100):
            write(tmp_path / "a" / f"{number}.ndjson", number + 1000)
        assert sorted(int(each["id"]) for each in await poller.drain(30)) == list(range(1000, 1100))
    assert await poller.drain_reopened() == []


async def test_a_file_that_cannot_be_read_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path / f"{name}.ndjson", 1)
    broken = tmp_path / "b.ndjson"

    def fail(path: str, *rest: object) -> object:
        if Path(path) == broken:
            raise FileError(f"{path}: Permission denied")
        return open_verified(path, *rest)  # type: ignore[arg-type]

    async with FilePoller(tmp_path / "*.ndjson").opened() as poller:
        with monkeypatch.context() as patched:
            patched.setattr(disk_module, "open_verified", fail)
            patched.setattr(held_module, "open_file", lambda *_: None)
            assert len(await poller.drain()) == 2
            assert poller.problems == [f"{broken}: Permission denied"]
            await poller.drain()
            assert len(poller.problems) == 1
        assert len(await poller.drain()) == 1
        assert not poller.problems
