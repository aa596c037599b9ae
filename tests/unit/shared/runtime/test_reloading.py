import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import SettingsError
from shared.runtime.logs import LogOptions
from shared.runtime.reloading import Apply, Reload, Reread, Section, SettingsFile, log_section
from shared.runtime.run import OK, run
from shared.settings import Options, Secret, load


class Pipelines(Options):
    channel: str = "a"
    listen: int = 80


class Settings(Options):
    database: str = "here"
    process: Pipelines = Pipelines()
    secret: Secret | None = None
    logs: LogOptions = LogOptions()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "trelay.yaml").write_text("logs: {level: info}")
    return tmp_path / "trelay.yaml"


@pytest.fixture
def applied() -> list[LogOptions]:
    return []


@pytest.fixture
def settings(file: Path, applied: list[LogOptions]) -> SettingsFile[Settings]:
    read = load(file, Settings)
    logs = log_section(lambda found: found.logs, applied.append)
    return SettingsFile(read, lambda files: load(file, Settings, files=files), [logs], name="the file")


async def test_changed_log_settings_take_effect_once(
    file: Path, settings: SettingsFile[Settings], applied: list[LogOptions], caplog: pytest.LogCaptureFixture
) -> None:
    assert await settings.reload() == []
    file.write_text("logs: {level: debug, format: text}")
    assert await settings.reload() == ["logs"]
    assert await settings.reload() == []
    assert applied == [LogOptions(level="debug", format="text")]
    file.write_text("logs: {level: info}")
    assert await settings.reload() == ["logs"]
    assert caplog.records == []


async def test_a_section_can_have_the_file_read_again_and_learn_what_is_wrong_with_it(
    file: Path, settings: SettingsFile[Settings], applied: list[LogOptions]
) -> None:
    attached: list[Reread] = []

    async def prepare(_pipelines: Pipelines) -> Apply:
        return lambda: None

    settings.add(Section(("process",), prepare, attach=attached.append))
    (reread,) = attached
    file.write_text("logs: {level: debug}\nprocess: {channel: b}")
    assert await reread() == ["logs", "process"]
    file.write_text("logs: {level: loud}")
    with pytest.raises(SettingsError, match="loud"):
        await reread()
    assert applied == [LogOptions(level="debug")]


async def test_other_changes_are_logged_as_needing_a_restart_until_they_are_undone(
    file: Path, settings: SettingsFile[Settings], applied: list[LogOptions], caplog: pytest.LogCaptureFixture
) -> None:
    (file.parent / "secret").write_text("one")
    file.write_text("database: there\nsecret: {file: secret}\nlogs: {level: error}")
    assert await settings.reload() == ["logs"]
    assert await settings.reload() == []
    assert [vars(record)["settings"] for record in caplog.records] == [["database", "secret"]] * 2
    assert {record.getMessage() for record in caplog.records} == {"changed settings need a restart"}
    assert "one" not in caplog.text
    caplog.clear()
    file.write_text("logs: {level: error}")
    assert await settings.reload() == []
    assert caplog.records == []


@pytest.mark.parametrize("text", ["logs: {level: loud}", "logs: [", None])
async def test_wrong_settings_are_logged_and_not_used(
    file: Path,
    settings: SettingsFile[Settings],
    applied: list[LogOptions],
    caplog: pytest.LogCaptureFixture,
    text: str | None,
) -> None:
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    assert await settings.reload() == []
    assert applied == []
    (record,) = caplog.records
    assert record.getMessage() == "changed settings are not used"
    assert str(file) in vars(record)["error"]
    assert settings.problem == vars(record)["error"]
    file.write_text("logs: {level: debug}")
    assert await settings.reload() == ["logs"]
    assert settings.problem is None


async def test_a_file_that_has_become_empty_is_not_used(
    file: Path, settings: SettingsFile[Settings], applied: list[LogOptions]
) -> None:
    for content in ("", "# nothing", "logs:"):
        file.write_text(content)
        with pytest.raises(SettingsError, match="the file: found no section of this service; expected one of logs"):
            await settings.reread()
    assert applied == []


async def test_many_settings_that_need_a_restart_are_named_up_to_twenty_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Many(Options):
        numbers: dict[str, int]

    file = tmp_path / "trelay.yaml"
    settings = SettingsFile(Many(numbers={}), lambda files: load(file, Many, files=files))
    file.write_text(f"numbers: {{{', '.join(f'n{number}: 1' for number in range(25))}}}")
    await settings.reload()
    (record,) = caplog.records
    assert vars(record)["settings"] == [f"numbers.n{number}" for number in range(20)]
    assert vars(record)["more"] == 5
    assert len(settings.needs_restart) == 25


@pytest.fixture
def channels(settings: SettingsFile[Settings]) -> list[str]:
    """The channels that took effect; `wrong` cannot be used."""
    found: list[str] = []

    async def prepare(channel: str) -> Apply:
        if channel == "wrong":
            raise SettingsError("process.channel: wrong")
        return lambda: found.append(channel)

    settings.add(Section(("process", "channel"), prepare))
    return found


async def test_a_section_within_a_section_takes_effect(
    file: Path, settings: SettingsFile[Settings], channels: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text("process: {channel: b}")
    assert await settings.reload() == ["process.channel"]
    assert await settings.reload() == []
    assert caplog.records == []
    file.write_text("process: {channel: a, listen: 81}")
    assert await settings.reload() == ["process.channel"]
    assert channels == ["b", "a"]
    (record,) = caplog.records
    assert vars(record)["settings"] == ["process.listen"]


async def test_of_several_sections_all_take_effect_or_none(
    file: Path,
    settings: SettingsFile[Settings],
    channels: list[str],
    applied: list[LogOptions],
    caplog: pytest.LogCaptureFixture,
) -> None:
    file.write_text("logs: {level: debug}\nprocess: {channel: wrong}")
    assert await settings.reload() == []
    (record,) = caplog.records
    assert (record.getMessage(), vars(record)["error"]) == ("changed settings are not used", "process.channel: wrong")
    assert (applied, channels) == ([], [])
    file.write_text("logs: {level: debug}\nprocess: {channel: b}")
    assert await settings.reload() == ["logs", "process.channel"]
    assert (applied, channels) == ([LogOptions(level="debug")], ["b"])


async def test_a_part_that_fails_keeps_no_other_from_being_loaded(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> list[str]:
        raise OSError("broken")

    async def works() -> list[str]:
        return ["certificate"]

    caplog.set_level(logging.INFO)
    reload = Reload()
    for part in (fails, works):
        reload.add(part)
    await reload()
    assert [record.getMessage() for record in caplog.records] == ["reload failed", "reloaded"]
    assert vars(caplog.records[1])["parts"] == ["certificate"]


def hang_up() -> None:
    os.kill(os.getpid(), signal.SIGHUP)


async def wait_for(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


def test_sighup_reloads_and_ends_nothing() -> None:
    loaded: list[str] = []

    async def part() -> list[str]:
        loaded.append("part")
        return ["part"]

    async def main(_stop: asyncio.Event) -> None:
        for count in (1, 2):
            hang_up()
            await wait_for(lambda count=count: len(loaded) == count)  # type: ignore[misc]

    reload = Reload()
    reload.add(part)
    assert run(main, reload=reload) == OK
    hang_up()  # the loop is gone


def test_sighup_ends_nothing_where_nothing_can_be_reloaded(caplog: pytest.LogCaptureFixture) -> None:
    async def main(_stop: asyncio.Event) -> None:
        hang_up()
        await wait_for(lambda: "reloaded" in caplog.messages)

    caplog.set_level(logging.INFO)
    assert run(main) == OK


def test_sighup_while_it_stops_does_not_cut_that_short() -> None:
    closed: list[str] = []

    async def main(stop: asyncio.Event) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        hang_up()
        await asyncio.sleep(0)
        closed.append("everything")

    assert run(main) == OK
    assert closed == ["everything"]


HANGUPS = """
import os, signal, sys
from pathlib import Path
from contextlib import asynccontextmanager
from shared.runtime import run as runtime
from shared.errors import SettingsError
from shared.runtime.logs import LogOptions
from shared.runtime.reloading import ReloadOptions
from shared.settings import Options
class Settings(Options):
    logs: LogOptions = LogOptions()
    reload: ReloadOptions = ReloadOptions()
    node: str | None = None
class Service:
    sections = ()
    async def failed(self):
        os.kill(os.getpid(), signal.SIGTERM)
        import asyncio; await asyncio.Event().wait()
    async def reload(self):
        return []
    def show_settings(self, file):
        pass
hup = lambda: os.kill(os.getpid(), signal.SIGHUP)
def load(path, model, files=None):
    hup()
    return Settings()
runtime.load = load
@asynccontextmanager
async def build(settings, *, node):
    hup()
    yield Service()
    hup()
status = runtime.run_service("system", Settings, build, ["--config", "x"])
hup()
print(status)
"""


def test_sighup_ends_nothing_at_any_moment() -> None:
    ended = subprocess.run([sys.executable, "-c", HANGUPS], capture_output=True, text=True, timeout=50, check=False)
    assert (ended.returncode, ended.stdout) == (0, "0\n")
