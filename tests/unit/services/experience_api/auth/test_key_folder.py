import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from services.experience_api.auth.key_folder import KeyFolder
from services.experience_api.registry.tokens import SigningKey
from shared.errors import SettingsError
from shared.runtime.clock import SystemClock


def write(folder: Path, **keys: str) -> None:
    for name, letter in keys.items():
        (folder / name).write_text(letter * 40 + "\n")


def test_the_last_key_by_name_comes_first(tmp_path: Path) -> None:
    write(tmp_path, k1="a", k2="b")
    assert KeyFolder(tmp_path).keys == (SigningKey("k2", b"b" * 40), SigningKey("k1", b"a" * 40))


def test_what_kubernetes_puts_beside_the_keys_is_no_key(tmp_path: Path) -> None:
    data = tmp_path / "..2026_11_28"
    data.mkdir()
    write(data, k1="a")
    (tmp_path / "..data").symlink_to(data.name)
    (tmp_path / "k1").symlink_to("..data/k1")
    (tmp_path / "folder").mkdir()
    assert [key.id for key in KeyFolder(tmp_path).keys] == ["k1"]


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"{tmp_path}: found no file with a key; expected one at least"):
        KeyFolder(tmp_path)
    with pytest.raises(SettingsError, match="missing: No such file or directory"):
        KeyFolder(tmp_path / "missing")
    (tmp_path / "short").write_text("x" * 31)
    with pytest.raises(SettingsError, match=f"{tmp_path}/short: found 31 bytes; expected at least 32"):
        KeyFolder(tmp_path)


async def test_a_change_is_loaded_and_one_that_cannot_be_used_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, k1="a")
    folder = await asyncio.to_thread(KeyFolder, tmp_path)
    found: list[Sequence[SigningKey]] = []
    with caplog.at_level(logging.INFO):
        assert await folder.reload(found.append) == []
        (tmp_path / "k2").write_text("short")
        for _ in range(2):
            assert await folder.reload(found.append) == []
        assert [record.message for record in caplog.records] == ["changed signing keys are not used"]
        assert found == []
        write(tmp_path, k2="b")
        assert await folder.reload(found.append) == [f"signing keys {tmp_path}"]
    assert [[key.id for key in keys] for keys in found] == [["k2", "k1"]]
    assert "b" * 40 not in caplog.text


class Ticks(SystemClock):
    """Sleeps until it is told to go on."""

    def __init__(self) -> None:
        self.slept = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        assert seconds == 10
        self.slept.set()
        await asyncio.sleep(0)


async def test_the_folder_is_followed(tmp_path: Path) -> None:
    write(tmp_path, k1="a")
    changed = asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        folder = await asyncio.to_thread(KeyFolder, tmp_path)
        following = group.create_task(folder.follow(Ticks(), lambda _keys: changed.set()))
        write(tmp_path, k2="b")
        await changed.wait()
        following.cancel()
