"""PgBouncer, a connection pooler in front of a PostgreSQL, from its Debian package."""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from services.standalone.embedded.process import ServerProcess, free_port
from tests.servers.debian import need_command
from tests.servers.processes import START_TIMEOUT, starting_again

Mode = Literal["session", "transaction", "statement"]

_SETTINGS = """
[databases]
* = host={host} port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users.txt
pool_mode = {mode}
default_pool_size = {size}
"""


@starting_again
@contextmanager
def pgbouncer(mode: Mode, dsn: str, *, size: int = 20) -> Iterator[str]:
    """Run a PgBouncer with defaults in front of the server of a DSN; yield the DSN that leads through it.

    Raises:
        ServerMissing: it is not installed and cannot be.
    """
    command = need_command("pgbouncer", "pgbouncer")
    parts = urlsplit(dsn)
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="trelay-pgbouncer-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "users.txt").write_text(f'"{parts.username}" ""\n')
        (folder / "pgbouncer.ini").write_text(
            _SETTINGS.format(
                host=parts.hostname, server_port=parts.port, port=port, folder=folder, mode=mode, size=size
            )
        )
        server = ServerProcess("pgbouncer", folder / "pgbouncer.log")
        # It does not run as root.
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        server.start(
            [command, *user, str(folder / "pgbouncer.ini")], ready=lambda _: _listens(port), timeout=START_TIMEOUT
        )
        try:
            yield parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}").geturl()
        finally:
            server.kill()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
