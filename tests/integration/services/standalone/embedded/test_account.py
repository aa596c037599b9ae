"""PostgreSQL refuses to be root; these are the ways around it. Only root can try them."""

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from services.standalone.embedded import account
from services.standalone.embedded.account import as_ordinary_user
from services.standalone.embedded.postgres import PostgresOptions, postgres_server
from services.standalone.embedded.process import ServerMissing

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")


def namespaces_are_allowed() -> bool:
    return subprocess.run(["unshare", "--user", "true"], capture_output=True, check=False).returncode == 0


@pytest.fixture
def without_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in most containers."""
    monkeypatch.setattr(account, "which", lambda name: None if name == "unshare" else shutil.which(name))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every account can enter; pytest's own are closed."""
    with tempfile.TemporaryDirectory(prefix="trelay-account-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


async def answer(dsn: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval("SELECT 7")
    finally:
        await connection.close()


@as_root
@pytest.mark.skipif(not namespaces_are_allowed(), reason="this machine forbids user namespaces")
def test_a_server_below_a_closed_folder_runs_and_its_files_stay_ours(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with postgres_server(PostgresOptions(tmp_path / "pg", durable=False)) as server:
        assert asyncio.run(answer(server.dsn())) == 7
        assert (tmp_path / "pg" / "data" / "PG_VERSION").stat().st_uid == 0


@as_root
@pytest.mark.usefixtures("without_namespaces")
def test_without_namespaces_the_server_gets_an_account_and_its_folder(open_folder: Path) -> None:
    options = PostgresOptions(open_folder / "pg", durable=False)
    for _ in range(2):  # made, and found again
        with postgres_server(options) as server:
            assert asyncio.run(answer(server.dsn())) == 7
            assert Path(f"/proc/{server.pid}").stat().st_uid == pwd.getpwnam("nobody").pw_uid


@as_root
@pytest.mark.usefixtures("without_namespaces")
def test_without_namespaces_the_account_passes_folders_that_are_closed_to_it(open_folder: Path) -> None:
    closed = open_folder / "closed"
    closed.mkdir(mode=0o700)
    with postgres_server(PostgresOptions(closed / "pg", durable=False)) as server:
        assert asyncio.run(answer(server.dsn())) == 7
        assert Path(f"/proc/{server.pid}").stat().st_uid == pwd.getpwnam("nobody").pw_uid


@as_root
def test_where_nothing_helps_the_folder_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(account, "which", lambda name: None)
    with pytest.raises(ServerMissing, match=str(tmp_path)):
        as_ordinary_user(Path("/bin/true"), tmp_path / "pg")


def test_an_ordinary_user_stays_who_he_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert as_ordinary_user(Path("/bin/true"), tmp_path) == []
