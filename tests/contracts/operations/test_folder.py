"""Operations in a folder keep the guarantees of every store, and survive restarts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.system_api.operations.folder import FolderSourceStore
from services.system_api.operations.requests import Command, Outcome
from services.system_api.operations.store import SourceStore
from shared.errors import SettingsError, Unavailable
from tests.contracts.operations.suite import SourceStoreContract


class FolderDeployment:
    """One process, so one store for all connections."""

    def __init__(self, store: FolderSourceStore) -> None:
        self._store = store

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[SourceStore]:
        yield self._store


class TestFolderOperations(SourceStoreContract):
    @pytest.fixture
    async def deployment(self, tmp_path: Path) -> FolderDeployment:
        return FolderDeployment(await FolderSourceStore.opened(tmp_path / "state"))


async def test_what_was_asked_is_there_after_a_restart(tmp_path: Path) -> None:
    store = await FolderSourceStore.opened(tmp_path / "state")
    await store.pause("orders", "oncall", "maintenance")
    request = (await store.request("orders", Command.REWIND, '"end"', "oncall")).request
    assert request is not None
    await store.settle("orders", Outcome(request.generation, None, {"from": {"": "1"}}, 5.0))
    again = await FolderSourceStore.opened(tmp_path / "state")
    assert await again.controls() == await store.controls()
    assert (await again.controls())["orders"].pending is None


async def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "controls.json").write_text("{")
    with pytest.raises(SettingsError, match="expected what Trelay has written"):
        await FolderSourceStore.opened(tmp_path)


async def test_a_disk_that_fails_is_unavailable_and_changes_nothing(tmp_path: Path) -> None:
    store = await FolderSourceStore.opened(tmp_path / "state")
    (tmp_path / "state").write_text("a file in the place of the folder")
    with pytest.raises(Unavailable):
        await store.pause("orders", "oncall", "")
    assert await store.controls() == {}
