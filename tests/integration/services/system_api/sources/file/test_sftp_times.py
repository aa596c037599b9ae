"""Files on SFTP, whose times are whole seconds."""

import asyncio
import os
from pathlib import Path

import pytest

from services.system_api.sources.file.remote.opening import RESOLUTION_SFTP
from tests.servers.sftp import SftpServer
from tests.unit.services.system_api.sources.file.file_poller import FilePoller, ManualClock

SECOND = 1_700_000_000


def put(folder: Path, name: str, text: str, at: float) -> None:
    """Put a file where it is complete at once."""
    (folder / "new").write_text(text)
    os.utime(folder / "new", (at, at))
    (folder / "new").rename(folder / name)


@pytest.mark.parametrize("ready", [{"ready": "renamed"}, {"ready": "done-file"}, {"stable_seconds": 0}])
@pytest.mark.parametrize("after", ["keep", "delete"])
async def test_a_file_that_is_replaced_within_its_second_is_read(
    sftp: SftpServer, unique_name: str, ready: dict[str, object], after: str
) -> None:
    """By one of the same size: nothing that SFTP tells of it differs."""
    folder, clock = sftp.folder / unique_name, ManualClock()
    folder.mkdir()
    (folder / "a.csv.done").touch()
    url = f"sftp://127.0.0.1:{sftp.port}{folder}/*.csv"
    drop = {**ready, "after": after}
    poller = FilePoller(url, clock, mode="drop", drop=drop, remote={"options": sftp.options})
    async with poller.opened(), asyncio.timeout(60):
        put(folder, "a.csv", "id\n1\n", SECOND + 0.2)
        assert await poller.drain() == []
        assert "is not complete yet" in poller.waiting[0]
        put(folder, "a.csv", "id\n2\n", SECOND + 0.9)
        clock.at += RESOLUTION_SFTP
        assert await poller.drain() == [{"id": "2"}]
        (folder / "a.csv.done").touch()
        put(folder, "a.csv", "id\n3\n", SECOND + 3.0)
        clock.at += RESOLUTION_SFTP
        await poller.drain()
        clock.at += RESOLUTION_SFTP
        await poller.drain()
    assert [row["id"] for row in poller.data] == ["2", "3"]


async def test_a_source_waits_for_the_second_and_not_for_its_interval(sftp: SftpServer, unique_name: str) -> None:
    folder = sftp.folder / unique_name
    folder.mkdir()
    url = f"sftp://127.0.0.1:{sftp.port}{folder}/*.csv"
    drop = {"ready": "renamed"}
    poller = FilePoller(url, mode="drop", drop=drop, remote={"options": sftp.options}, interval=3600)
    async with poller.opened():
        put(folder, "a.csv", "id\n1\n", SECOND)
        await poller.until(1)
