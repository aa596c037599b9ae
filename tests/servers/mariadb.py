"""A MariaDB for tests, from its Debian package, in a temporary folder."""

import os
import pwd
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.standalone.embedded.process import ServerFailed, ServerProcess, free_port
from tests.servers.debian import need_command
from tests.servers.processes import START_TIMEOUT, starting_again

_USER = "mysql"
"""The user of the package: the server does not run as root."""
_SETTINGS = (
    "--no-defaults",
    "--skip-networking=0",
    "--bind-address=127.0.0.1",
    "--skip-log-bin",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-buffer-pool-size=64M",
    "--performance-schema=off",
    "--character-set-server=utf8mb4",
)
_ACCOUNTS = """
    CREATE USER trelay@'127.0.0.1'; GRANT ALL ON *.* TO trelay@'127.0.0.1' WITH GRANT OPTION;
    CREATE DATABASE trelay;
"""


@dataclass(frozen=True, slots=True)
class MariaDb:
    """A server on the loopback; the account `trelay` has no password."""

    port: int

    def url(self, database: str = "trelay", user: str = "trelay") -> str:
        """Return the URL of a database."""
        return f"mariadb://{user}@127.0.0.1:{self.port}/{database}"


@starting_again
@contextmanager
def mariadb_server(*settings: str) -> Iterator[MariaDb]:
    """Run a MariaDB in a temporary folder; `settings` are options of its command.

    Raises:
        ServerMissing: it is not installed and cannot be.
    """
    command = need_command("mariadbd", "mariadb-server")
    install = need_command("mariadb-install-db", "mariadb-server")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="trelay-mariadb-") as name:
        folder = Path(name)
        account = pwd.getpwnam(_USER) if os.geteuid() == 0 else None
        if account is not None:
            os.chown(folder, account.pw_uid, account.pw_gid)
        user = [f"--user={_USER}"] if account is not None else []
        data = folder / "data"
        done = subprocess.run(
            [install, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal", *user],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ServerFailed(f"mariadb-install-db failed: {done.stderr[-500:]}")
        setup = folder / "accounts.sql"
        setup.write_text(" ".join(_ACCOUNTS.split()).replace("; ", ";\n") + "\n")
        setup.chmod(0o644)
        server = ServerProcess("mariadb", folder / "mariadb.log")
        server.start(
            [
                command,
                *_SETTINGS,
                *settings,
                f"--datadir={data}",
                f"--port={port}",
                f"--socket={folder}/mariadb.sock",
                f"--init-file={setup}",
                *user,
            ],
            ready=lambda _: _listens(port),
            timeout=START_TIMEOUT,
        )
        try:
            yield MariaDb(port)
        finally:
            server.kill()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
