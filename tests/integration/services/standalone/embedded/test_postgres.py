import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import asyncpg
import psutil
import pytest

from services.standalone.embedded.binaries import binaries_for
from services.standalone.embedded.postgres import FolderInUse, PostgresOptions, PostgresServer, postgres_server
from services.standalone.embedded.process import ServerFailed, ServerMissing
from tests.servers.processes import ended

pytestmark = pytest.mark.every_postgres

# Starts a server as `make run` does, says where it is, and waits to be killed.
OWNER = """
import sys, time
from pathlib import Path
from services.standalone.embedded.postgres import PostgresOptions, PostgresServer
server = PostgresServer(PostgresOptions(Path(sys.argv[1]), durable=False))
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


async def fetch(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def run(server: PostgresServer, statement: str) -> object:
    return asyncio.run(fetch(server.dsn(), statement))


def test_it_is_of_the_version_that_it_reports(own_postgres: PostgresServer) -> None:
    said = run(own_postgres, "SHOW server_version_num")
    assert isinstance(said, str)
    assert int(said) // 10_000 == own_postgres.version


def test_listens_on_the_loopback_alone(own_postgres: PostgresServer) -> None:
    sockets = psutil.Process(own_postgres.pid).net_connections()
    listening = [socket.laddr for socket in sockets if socket.status == psutil.CONN_LISTEN]
    assert listening == [("127.0.0.1", own_postgres.port)]


def test_keeps_data_and_address_over_a_kill(own_postgres: PostgresServer) -> None:
    address = own_postgres.dsn()
    run(own_postgres, "CREATE TABLE kept AS SELECT 7 AS value")
    backends = psutil.Process(own_postgres.pid).children()
    own_postgres.kill()
    assert all(ended(process.pid) for process in backends)
    with pytest.raises(ConnectionError):
        run(own_postgres, "SELECT 1")
    own_postgres.start()
    assert own_postgres.dsn() == address
    assert run(own_postgres, "SELECT value FROM kept") == 7


def test_keeps_data_over_a_restart_under_open_connections(own_postgres: PostgresServer) -> None:
    async def scenario() -> object:
        connection = await asyncpg.connect(own_postgres.dsn())
        await connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
        await asyncio.to_thread(own_postgres.restart)
        with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError, ConnectionError)):
            await connection.fetchval("SELECT 1")
        connection.terminate()
        return await fetch(own_postgres.dsn(), "SELECT value FROM kept")

    assert asyncio.run(scenario()) == 7


async def test_does_not_respond_while_paused_and_continues_afterwards(own_postgres: PostgresServer) -> None:
    connection = await asyncpg.connect(own_postgres.dsn())
    own_postgres.pause()
    asking = asyncio.ensure_future(connection.fetchval("SELECT 7"))
    with pytest.raises(TimeoutError):
        await asyncpg.connect(own_postgres.dsn(), timeout=0.3)
    assert not asking.done()
    own_postgres.resume()
    assert await asking == 7
    await connection.close()


def test_stop_leaves_no_process(own_postgres: PostgresServer) -> None:
    pids = [own_postgres.pid, *(child.pid for child in psutil.Process(own_postgres.pid).children(recursive=True))]
    own_postgres.stop()
    assert not own_postgres.running
    assert all(ended(pid) for pid in pids)


def test_outlives_the_thread_that_started_it(own_postgres: PostgresServer) -> None:
    asyncio.run(asyncio.to_thread(own_postgres.restart))  # the pool's threads end with the loop
    assert run(own_postgres, "SELECT 1") == 1


class TestOwner:
    """A folder has one owner at a time, and what an owner that was killed left is taken over."""

    def test_a_killed_owner_ends_its_server_and_the_next_one_resumes(self, tmp_path: Path) -> None:
        with subprocess.Popen(
            [sys.executable, "-c", OWNER, str(tmp_path / "pg")], stdout=subprocess.PIPE, text=True
        ) as owner:
            assert owner.stdout is not None
            postmaster = int(owner.stdout.readline())
            with pytest.raises(FolderInUse, match=f"in use by process {owner.pid}$"):
                PostgresServer(PostgresOptions(tmp_path / "pg")).start()
            port = (tmp_path / "pg" / "port").read_text()
            owner.send_signal(signal.SIGKILL)
        # At once: the server before may still be shutting down.
        with postgres_server(PostgresOptions(tmp_path / "pg", durable=False)) as server:
            assert run(server, "SELECT 1") == 1
            assert str(server.port) == port
            assert ended(postmaster)

    def test_a_password_is_needed_where_one_is_set(self, tmp_path: Path) -> None:
        with postgres_server(PostgresOptions(tmp_path / "pg", durable=False)) as server:
            assert run(server, "SELECT current_user") == "trelay"
            wrong = f"postgresql://trelay:wrong@127.0.0.1:{server.port}/trelay"
            with pytest.raises(asyncpg.InvalidPasswordError):
                asyncio.run(fetch(wrong, "SELECT 1"))
            assert (tmp_path / "pg" / "password").stat().st_mode & 0o077 == 0

    def test_a_first_start_that_broke_off_is_begun_again(self, tmp_path: Path) -> None:
        (tmp_path / "pg" / "data.new" / "base").mkdir(parents=True)
        with postgres_server(PostgresOptions(tmp_path / "pg", durable=False)) as server:
            assert run(server, "SELECT 1") == 1

    def test_a_setting_it_does_not_know_is_named(self, tmp_path: Path) -> None:
        options = PostgresOptions(tmp_path / "pg", durable=False, settings={"no_such_setting": "1"})
        with pytest.raises(ServerFailed, match="no_such_setting"), postgres_server(options):
            pass

    def test_data_of_an_unknown_version_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "PG_VERSION").write_text("9\n")
        with pytest.raises(ServerMissing, match="PostgreSQL 9"):
            binaries_for(tmp_path)
