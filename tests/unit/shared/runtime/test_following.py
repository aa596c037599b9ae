"""Changed settings files are loaded without a signal."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.errors import SettingsError
from shared.runtime.clock import SystemClock
from shared.runtime.reloading import Apply, ReloadOptions, Section, SettingsFile
from shared.runtime.tasks import cancelled, started
from shared.settings import Options, Secret, load


class Settings(Options):
    channel: str = "a"
    secret: Secret | None = None
    port: int = 80


STARTED_WITH = Settings(channel="a")


class Looks(SystemClock):
    """Sleeps until the test lets the next look happen."""

    def __init__(self) -> None:
        self._permits = asyncio.Semaphore(0)
        self._asleep = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        assert seconds == 5.0
        self._asleep.set()
        await self._permits.acquire()

    async def look(self, times: int = 1) -> None:
        """Let it look, and return when it sleeps again."""
        for _ in range(times):
            await self._asleep.wait()
            self._asleep.clear()
            self._permits.release()
            await self._asleep.wait()


class Followed:
    """A file that is followed, and the channels that took effect."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self.clock = Looks()
        self.channels: list[str] = []
        self.file = SettingsFile(settings, lambda files: load(path, Settings, files=files), clock=self.clock)
        self.file.add(Section(("channel",), self._prepare))

    async def _prepare(self, channel: str) -> Apply:
        if channel == "broken":
            raise RuntimeError("a bug")
        return lambda: self.channels.append(channel)

    @asynccontextmanager
    async def following(self, options: ReloadOptions = ReloadOptions()) -> AsyncIterator[None]:  # noqa: B008 -- frozen
        task = started("settings file", self.file.follow(options))
        try:
            async with asyncio.timeout(60):
                yield
        finally:
            await cancelled(task)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "trelay.yaml").write_text("channel: a")
    return tmp_path / "trelay.yaml"


@pytest.fixture
def followed(path: Path) -> Followed:
    return Followed(path, STARTED_WITH)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "shared.runtime.reloading"]


async def test_a_change_is_loaded_once_it_is_complete(
    path: Path, followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with followed.following():
        await followed.clock.look(6)
        assert messages(caplog) == []
        path.write_text("channel: b")
        await followed.clock.look()
        assert followed.channels == []
        path.write_text("channel: bcd")  # the rest of it
        await followed.clock.look()
        assert followed.channels == []
        await followed.clock.look(4)
        assert followed.channels == ["bcd"]
        assert messages(caplog) == ["reloaded"]


async def test_a_change_between_the_start_and_the_first_look_is_loaded(path: Path, followed: Followed) -> None:
    path.write_text("channel: b")
    async with followed.following():
        await followed.clock.look(2)
        assert followed.channels == ["b"]


async def test_the_folder_of_a_configmap_that_kubernetes_replaces_is_noticed(tmp_path: Path) -> None:
    for version, channel in (("..1", "a"), ("..2", "b")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "trelay.yaml").write_text(f"channel: {channel}")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "trelay.yaml").symlink_to("..data/trelay.yaml")
    followed = Followed(tmp_path / "trelay.yaml", STARTED_WITH)
    async with followed.following():
        await followed.clock.look(4)
        (tmp_path / "..new").symlink_to("..2")
        (tmp_path / "..new").rename(tmp_path / "..data")
        await followed.clock.look(2)
        assert followed.channels == ["b"]


async def test_a_secret_that_changes_and_one_that_comes_back_are_noticed(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = path.parent / "secret"
    secret.write_text("one")
    path.write_text("channel: a\nsecret: {file: secret}")
    followed = Followed(path, Settings(channel="a", secret=SecretStr("one")))
    async with followed.following():
        await followed.clock.look(4)
        secret.write_text("another")
        await followed.clock.look(4)
        assert messages(caplog) == ["changed settings need a restart"]
        assert followed.file.needs_restart == ["secret"]
        secret.unlink()
        await followed.clock.look(4)
        assert followed.file.problem is not None
        assert "secret" in followed.file.problem
        secret.write_text("another")
        await followed.clock.look(4)
        assert followed.file.problem is None
        assert messages(caplog) == ["changed settings need a restart", "changed settings are not used"]
    assert "another" not in caplog.text


async def test_a_fault_is_logged_once_with_its_place_and_its_end_too(
    path: Path, followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with followed.following():
        for _ in range(3):
            path.write_text("channel: a\nport: many")
            await followed.clock.look(4)
        (record,) = caplog.records
        assert record.getMessage() == "changed settings are not used"
        assert vars(record)["error"].startswith(f"{path}:2:1: port: ")
        path.write_text("channel: a")
        await followed.clock.look(4)
        assert messages(caplog) == ["changed settings are not used", "reloaded"]
        assert vars(caplog.records[1])["parts"] == []
    assert followed.channels == []


async def test_a_failure_of_a_section_is_logged_and_ends_nothing(
    path: Path, followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    async with followed.following():
        path.write_text("channel: broken")
        await followed.clock.look(2)
        assert messages(caplog) == ["reload failed"]
        path.write_text("channel: right")
        await followed.clock.look(4)
        assert followed.channels == ["right"]


async def test_what_needs_a_restart_is_logged_when_it_changes(
    path: Path, followed: Followed, caplog: pytest.LogCaptureFixture
) -> None:
    async with followed.following():
        for port, channel in ((81, "a"), (81, "b"), (82, "b")):
            path.write_text(f"channel: {channel}\nport: {port}")
            await followed.clock.look(4)
    assert [vars(record)["settings"] for record in caplog.records] == [["port"]]
    assert followed.channels == ["b"]


async def test_it_can_be_turned_off(followed: Followed) -> None:
    reads: list[str] = []

    def read(_files: set[Path]) -> Settings:
        reads.append("read")
        raise SettingsError("not expected")

    file = SettingsFile(STARTED_WITH, read, clock=followed.clock)
    task = started("settings file", file.follow(ReloadOptions(on_change=False)))
    await asyncio.sleep(0)
    assert not task.done()
    await cancelled(task)
    assert reads == []


@pytest.mark.parametrize("interval", [0.0, 4000.0])
def test_an_interval_has_limits(interval: float) -> None:
    with pytest.raises(ValueError, match="interval"):
        ReloadOptions(interval=interval)
