"""A disk that is not mounted: its mount point is an empty folder, whose files are not deleted."""

import json
import shutil
from pathlib import Path

import pytest

from services.system_api.sources.file.filesystem import is_unmounted
from shared.errors import Unavailable
from tests.unit.services.system_api.sources.file.file_poller import FilePoller, ManualClock, dropping, lines, write


def made(folder: Path, clock: ManualClock, mode: str) -> FilePoller:
    folder.mkdir()
    return dropping(folder, clock) if mode == "drop" else FilePoller(folder / "*.ndjson", clock)


def unmount(poller: FilePoller, folder: Path) -> Path:
    """Leave an empty folder, and let the files be those of another disk."""
    for part, known in poller.files.items():
        poller.checkpoint[part] = json.dumps(known | {"dev": known["dev"] + 1}).encode()
    disk = folder.with_name("disk")
    folder.rename(disk)
    folder.mkdir()
    return disk


@pytest.mark.parametrize("mode", ["tail", "drop"])
async def test_the_source_is_unavailable_and_repeats_nothing_afterwards(tmp_path: Path, mode: str) -> None:
    folder, clock = tmp_path / "in", ManualClock()
    poller = made(folder, clock, mode)
    for number in range(3):
        write(folder / f"{number}.ndjson", number)
    async with poller.opened():
        await poller.drain()
        clock.at += 6
        await poller.drain()
    disk = unmount(poller, folder)
    for _ in range(2):
        async with poller.opened():
            for _ in range(3):
                with pytest.raises(Unavailable, match=r"it is empty, and 3 files that were read in it were on another"):
                    await poller.drain()
                clock.at += 30 * 3600
    folder.rmdir()
    disk.rename(folder)
    write(folder / "3.ndjson", 3)
    async with poller.opened():
        assert await poller.drain() == lines(3)
        clock.at += 6
        await poller.drain()
    assert len(poller.data) == 4
    assert poller.losses == []


@pytest.mark.parametrize("mode", ["tail", "drop"])
async def test_a_folder_whose_files_were_deleted_is_available(tmp_path: Path, mode: str) -> None:
    folder, clock = tmp_path / "in", ManualClock()
    poller = made(folder, clock, mode)
    write(folder / "1.ndjson", 1)
    await poller.drain_reopened()
    (folder / "1.ndjson").unlink()
    assert await poller.drain_reopened() == []


def test_what_is_left_of_the_way_to_a_file_tells(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    assert not is_unmounted(str(tmp_path / "a"), (device, 1))
    assert not is_unmounted(str(tmp_path / "gone" / "far" / "a"), (device, 1))
    assert is_unmounted(str(tmp_path / "a"), (device + 1, 1))
    assert is_unmounted("a", (device + 1, 1))
    shutil.rmtree(tmp_path)
