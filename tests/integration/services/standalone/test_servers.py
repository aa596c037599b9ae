"""What keeps a database of our own from running is one sentence that says what would help."""

from pathlib import Path

import pytest

from services.standalone.servers import own_postgres
from shared.errors import SettingsError


async def test_it_runs_for_as_long_as_the_context_and_one_folder_has_one(tmp_path: Path) -> None:
    folder = tmp_path / "it's a postgres"
    async with own_postgres(folder) as first:
        assert first.server.running
        with pytest.raises(SettingsError, match=r"in use by process .* TRELAY_DATA"):
            async with own_postgres(folder):
                raise AssertionError("two servers on one folder")
    assert not first.server.running


async def test_data_of_a_newer_postgresql_is_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "PG_VERSION").write_text("99\n")
    with pytest.raises(SettingsError, match="made by PostgreSQL 99, which is not on this machine: install it, or move"):
        async with own_postgres(tmp_path):
            raise AssertionError("a server that cannot read its data")


async def test_a_path_that_is_no_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"the database cannot be started: .*Not a directory"):
        async with own_postgres(tmp_path / "file" / "data"):
            raise AssertionError("a folder below a file")
