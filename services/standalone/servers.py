"""The servers that `make run` and `make run-kafka` start: an error names the reason and what to do.

Starting and stopping block, so both run in threads.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Protocol

from services.standalone.embedded.kafka import KafkaOptions, KafkaServer
from services.standalone.embedded.postgres import FolderInUse, PostgresOptions, PostgresServer
from services.standalone.embedded.process import ServerFailed, ServerMissing
from shared.errors import SettingsError
from shared.runtime.clock import Clock

_POSTGRES_STOP, _BROKER_STOP = 1.5, 5.0
_CHECK_INTERVAL = 1.0
_RETRY_INTERVAL = 10.0


class Server(Protocol):
    """An embedded PostgreSQL or Kafka."""

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        ...

    def start(self) -> None:
        """Start it, and return when it answers."""
        ...


@dataclass(frozen=True, slots=True)
class OwnServer:
    """A running server."""

    name: str
    address: str
    """The address for clients; a restart keeps it."""

    server: Server
    lock: Lock
    """Held while it is started or stopped."""

    async def kept_up(self, say: Callable[[str], None], clock: Clock) -> None:
        """Restart it whenever it ends, with the same data and address, until cancelled."""
        while True:
            await clock.sleep(_CHECK_INTERVAL)
            if self.server.running:
                continue
            say(f"({self.name} has ended; restarting)")
            try:
                await asyncio.to_thread(self._start)
            except (ServerFailed, ServerMissing) as exc:
                say(f"({exc}\nRetrying in {_RETRY_INTERVAL:g} s)")
                await clock.sleep(_RETRY_INTERVAL)

    def _start(self) -> None:
        with self.lock:
            self.server.start()


@asynccontextmanager
async def own_postgres(folder: Path) -> AsyncIterator[OwnServer]:
    """Run a PostgreSQL with its files in `folder`.

    Raises:
        SettingsError: it cannot run there; the text says what to do.
    """
    try:
        server, address = await asyncio.to_thread(_started_postgres, folder)
    except FolderInUse as exc:
        raise SettingsError(
            f"{exc}. If Trelay already runs with this folder, stop it, or choose another folder: TRELAY_DATA=…"
        ) from exc
    except (ServerFailed, ServerMissing, OSError) as exc:
        raise SettingsError(f"the database cannot be started: {exc}") from exc
    own = OwnServer("PostgreSQL", address, server, Lock())
    async with _running(own, lambda: server.stop(_POSTGRES_STOP)):
        yield own


def _started_postgres(folder: Path) -> tuple[PostgresServer, str]:
    server = PostgresServer(PostgresOptions(folder))
    server.start()
    return server, server.dsn()


@asynccontextmanager
async def own_kafka(folder: Path, jars: Path) -> AsyncIterator[OwnServer]:
    """Run a Kafka with its files in `folder`.

    Raises:
        SettingsError: it cannot run there; the text says what to do.
    """
    try:
        server, address = await asyncio.to_thread(_started_kafka, folder, jars)
    except (ServerFailed, ServerMissing, OSError) as exc:
        raise SettingsError(f"Kafka cannot be started: {exc}") from exc
    own = OwnServer("Kafka", address, server, Lock())
    async with _running(own, lambda: server.stop(_BROKER_STOP)):
        yield own


def _started_kafka(folder: Path, jars: Path) -> tuple[KafkaServer, str]:
    server = KafkaServer(KafkaOptions(folder, jars))
    server.start()
    return server, server.bootstrap


@asynccontextmanager
async def _running(own: OwnServer, stop: Callable[[], None]) -> AsyncIterator[None]:
    def stop_locked() -> None:
        with own.lock:
            stop()

    try:
        yield
    finally:
        await asyncio.to_thread(stop_locked)


def need_port(port: int) -> None:
    """Check, before anything starts, that this port of the loopback is free.

    Raises:
        SettingsError: it is not.
    """
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as exc:
        reason = os.strerror(exc.errno) if exc.errno else exc
        raise SettingsError(
            f"cannot listen on 127.0.0.1 port {port}: {reason}. Choose another: TRELAY_PORT=… (0 takes a free port)"
        ) from exc
