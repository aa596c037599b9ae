"""The store on disk; `test_memory` has what every store guarantees."""

from pathlib import Path

import pytest

from services.process_api.state.rocks import RocksStores
from services.process_api.state.store import Mark, Size
from shared.errors import SettingsError


async def test_a_store_on_disk_is_there_again_and_apart_from_others(tmp_path: Path) -> None:
    async with RocksStores.opened(tmp_path) as stores:
        stores.store(0).apply({b"tablea": b"0"}, Mark("e", 1, 5))
        stores.store(1).apply({b"tablea": b"1"})
        stores.store(1).clear()
    async with RocksStores.opened(tmp_path) as stores:
        assert stores.store(0).get(b"tablea") == b"0"
        assert stores.store(0).mark == Mark("e", 1, 5)
        assert stores.store(1).get(b"tablea") is None
        assert stores.store(1).mark is None


async def test_the_sizes_are_there_again_and_state_that_was_not_counted_is_restored(tmp_path: Path) -> None:
    async with RocksStores.opened(tmp_path) as stores:
        stores.store(0).apply({b"\0\0\0\1va": b"12"}, Mark("e", 1, 5))
    async with RocksStores.opened(tmp_path) as stores:
        assert stores.store(0).sizes == {b"\0\0\0\1": Size(1, 8)}
        stores._database.delete(stores.store(0)._sizes_key)
        assert (stores.store(0).mark, stores.store(0).sizes) == (None, {})


async def test_a_directory_that_is_in_use_or_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    async with RocksStores.opened(tmp_path / "used"):
        for name in ("used", "file"):
            with pytest.raises(SettingsError, match=r"process\.state\.directory: .*a directory of this replica"):
                await RocksStores.opened(tmp_path / name).__aenter__()
