import logging
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.database.password import Password
from shared.settings import FileSecret


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("old")
    return path


async def test_a_password_in_the_settings_stays() -> None:
    assert await Password(SecretStr("p")).candidates() == ["p"]


async def test_without_one_it_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    assert await Password(None).candidates() == [""]
    monkeypatch.setenv("PGPASSWORD", "p")
    assert await Password(None).candidates() == ["p"]


async def test_a_changed_file_is_tried_before_the_password_that_was_accepted(path: Path) -> None:
    password = Password(FileSecret("old", path))
    assert await password.candidates() == ["old"]
    path.write_text("new")
    assert await password.candidates() == ["new", "old"]
    password.accept("old")  # the server still has it
    assert await password.candidates() == ["new", "old"]
    password.accept("new")
    assert await password.candidates() == ["new"]


async def test_a_file_that_cannot_be_read_changes_nothing_and_is_logged_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    password = Password(FileSecret("old", path))
    path.unlink()
    assert [await password.candidates() for _ in range(3)] == [["old"]] * 3
    assert [record.message for record in caplog.records] == ["changed database password is not used"]
    path.write_text("new")
    assert await password.candidates() == ["new", "old"]
    path.unlink()
    assert await password.candidates() == ["old"]
    assert len(caplog.records) == 2


async def test_a_change_is_logged_once_without_the_password(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    password = Password(FileSecret("old", path))
    for accepted in ("old", "new-secret", "new-secret"):
        password.accept(accepted)
    assert [record.message for record in caplog.records] == ["database password changed"]
    assert "new-secret" not in str([vars(record) for record in caplog.records])
