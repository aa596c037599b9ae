"""Looks at the interval and when paths are named, and holds new files."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.system_api.sources.file.folders import listing as listing_module
from services.system_api.sources.file.folders.globbing import Glob
from services.system_api.sources.file.folders.listing import Listing
from services.system_api.sources.file.held_files import DescriptorBudget, HeldFiles
from services.system_api.sources.file.io_thread import IoThread
from services.system_api.sources.file.reading.disk import Disk
from services.system_api.sources.file.reading.folder_view import FolderView
from shared.errors import Unavailable
from tests.unit.services.system_api.sources.file.file_poller import ManualClock, write


@pytest.fixture
async def disk() -> AsyncIterator[Disk]:
    async with IoThread.opened("disk") as io_thread:
        disk = Disk(io_thread, HeldFiles(DescriptorBudget(10)))
        yield disk
        disk.release_all()


def names(found: list[listing_module.Changes]) -> list[str]:
    return [Path(file.path).name for changes in found for file in changes.changed]


async def test_paths_that_are_named_are_held_before_the_next_look(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing_module, "SMALL", 0)
    clock = ManualClock()
    view = FolderView(Listing([Glob(f"{tmp_path}/in/*")]), disk, 10, clock, hold=True)
    await view.note_paths({"ignored": True})
    with pytest.raises(Unavailable):
        await view.look()
    (tmp_path / "in").mkdir()
    assert view.due
    assert await view.look() == []
    assert not view.due
    write(tmp_path / "in" / "a", 1)
    write(tmp_path / "in" / "b", 1)
    await view.note_paths({str(tmp_path / "in" / "a"): True})
    assert view.due, "something was found"
    assert len(disk.held) == len(view.inodes) == 1
    assert names(await view.look()) == ["a"]
    assert not view.due
    clock.at += 10
    assert view.due
    assert names(await view.look()) == ["b"]
    assert len(disk.held) == 2


async def test_without_holding_no_file_is_opened(tmp_path: Path, disk: Disk) -> None:
    write(tmp_path / "a", 1)
    view = FolderView(Listing([Glob(f"{tmp_path}/*")]), disk, 10, ManualClock(), hold=False)
    assert names(await view.look()) == ["a"]
    assert view.thorough
    assert len(disk.held) == 0
