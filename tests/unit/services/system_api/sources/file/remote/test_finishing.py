"""Remote files that are completely published: archived or deleted once, whatever fails."""

from typing import Any

import pytest

from services.system_api.sources.file.remote.store import RemoteStore
from shared.errors import Unavailable
from tests.unit.services.system_api.sources.file.file_poller import lines, until
from tests.unit.services.system_api.sources.file.remote.remote_files import MemoryFolder


@pytest.mark.parametrize(
    ("drop", "left"),
    [
        ({}, ["a.ndjson"]),
        ({"after": "delete"}, []),
        ({"after": "archive"}, ["archive/a.ndjson"]),
    ],
)
async def test_a_file_is_finished_once_all_of_it_is_committed(
    folder: MemoryFolder, drop: dict[str, Any], left: list[str]
) -> None:
    folder.write("a.ndjson", *range(9))
    async with folder.poller("**/*.ndjson", drop=drop).opened() as poller:
        await poller.poll(5)
        assert folder.names() == ["a.ndjson"]
        await poller.drain()
        await until(lambda: folder.names() == left)
        assert len(poller.data) == 9
        assert await poller.drain() == []
        assert poller.problems == []
    assert await poller.drain_reopened() == [], "the archive is not read"


async def test_an_archive_elsewhere_keeps_files_of_one_name(folder: MemoryFolder) -> None:
    remote = {"archive": f"{folder.url}/done/"}
    async with folder.poller(drop={"after": "archive"}, remote=remote).opened() as poller:
        for number in range(2):
            folder.write("a.ndjson", number)
            assert await poller.drain() == lines(number)
            await until(lambda: "a.ndjson" not in folder.names())
    first, second = folder.names()
    assert first == "done/a.ndjson"
    assert second.startswith("done/a.ndjson.2.")


async def test_finishing_that_was_interrupted_is_repeated(folder: MemoryFolder) -> None:
    folder.write("a.ndjson", 1)
    poller = folder.poller(drop={"after": "delete"})
    async with poller.opened():
        batch = await poller.source.poll(10)
        settle = poller.source.settle  # type: ignore[attr-defined]
        poller.source.settle = _nothing  # type: ignore[attr-defined]
        await poller.commit(batch)
        del settle
    assert folder.names() == ["a.ndjson"]
    async with poller.opened():
        assert await poller.drain() == []
        await until(lambda: folder.names() == [])
    assert poller.data == lines(1)


async def test_a_file_that_is_replaced_while_it_is_archived_is_read(
    folder: MemoryFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy of a large object takes minutes, and only then is it deleted."""
    folder.write("a.ndjson", 1)
    copy = type(folder.fs).copy

    def slow(self: Any, path: str, target: str) -> None:
        copy(self, path, target)
        if "a.ndjson" in folder.names() and len(poller.data) == 1:
            folder.write("a.ndjson", 2)

    monkeypatch.setattr(type(folder.fs), "copy", slow)
    poller = folder.poller(drop={"after": "archive"})
    async with poller.opened():
        assert await poller.drain() == lines(1)
        await until(lambda: "archive/a.ndjson" in folder.names())
        assert await poller.drain() == lines(2)
        await until(lambda: "a.ndjson" not in folder.names())
    assert len(folder.names()) == 2
    assert poller.data == lines(1, 2)


async def _nothing(_batch: object) -> None:
    return


async def test_a_listing_that_is_late_repeats_nothing(folder: MemoryFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write("a.ndjson", 1)
    folder.write("b.ndjson", 2)
    current = RemoteStore.list_files
    shown = []

    def late(self: RemoteStore) -> object:
        shown.append(current(self))
        return shown[0]

    monkeypatch.setattr(RemoteStore, "list_files", late)
    async with folder.poller(drop={"after": "delete"}).opened() as poller:
        await poller.drain()
        await until(lambda: folder.names() == [])
        assert await poller.drain() == [], "they are listed, and gone"
        shown.clear()
        await poller.drain()
        shown.clear()
        folder.write("a.ndjson", 3)
        assert await poller.drain() == lines(3)
    assert poller.data == lines(1, 2, 3)
    assert poller.problems == []


async def test_a_file_of_which_nothing_became_an_event_stays(folder: MemoryFolder) -> None:
    folder.put("a.ndjson", "no JSON\n")
    async with folder.poller(drop={"after": "delete"}).opened() as poller:
        await poller.drain()
        await poller.drain()
        assert len(poller.rejects) == 1
        reason = "none of its records became an event, 1 are in the dead letter topic; the file stays"
        assert poller.problems == [f"/{folder.name}/a.ndjson: {reason}"]
    assert folder.names() == ["a.ndjson"]


async def test_finishing_that_failed_is_repeated(folder: MemoryFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write("a.ndjson", 1)
    delete, refused = RemoteStore.delete, True

    def refusing(self: RemoteStore, path: str) -> None:
        if refused:
            raise Unavailable("access denied")
        delete(self, path)

    monkeypatch.setattr(RemoteStore, "delete", refusing)
    async with folder.poller(drop={"after": "delete"}).opened() as poller:
        await poller.drain()
        while not poller.problems:
            await poller.poll()
        assert poller.problems == [f"/{folder.name}/a.ndjson: not finished: access denied"]
        refused = False
        await poller.poll()
        await until(lambda: folder.names() == [])
        await poller.poll()
        assert poller.problems == []
    assert poller.data == lines(1)
