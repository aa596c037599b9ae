import logging
from pathlib import Path

import pytest

from shared.runtime.logs import LogOptions
from shared.runtime.reloading import Reload, SettingsFile
from shared.settings import Options, Secret, load


class Settings(Options):
    database: str = "here"
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
    return SettingsFile(read, lambda: load(file, Settings), lambda settings: settings.logs, applied.append)


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


async def test_other_changes_are_said_to_need_a_restart_until_they_are_undone(
    file: Path, settings: SettingsFile[Settings], applied: list[LogOptions], caplog: pytest.LogCaptureFixture
) -> None:
    (file.parent / "secret").write_text("one")
    file.write_text("database: there\nsecret: {file: secret}\nlogs: {level: error}")
    assert await settings.reload() == ["logs"]
    assert await settings.reload() == []
    assert [vars(record)["sections"] for record in caplog.records] == [["database", "secret"]] * 2
    assert {record.getMessage() for record in caplog.records} == {"changed settings need a restart"}
    assert "one" not in caplog.text
    caplog.clear()
    file.write_text("logs: {level: error}")
    assert await settings.reload() == []
    assert caplog.records == []


@pytest.mark.parametrize("text", ["logs: {level: loud}", "logs: [", None])
async def test_settings_that_are_wrong_are_said_and_not_used(
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
