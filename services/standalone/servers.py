"""The servers that `make run` and `make run-kafka` start for themselves: what keeps one from running is said in words.

Starting and stopping block, and happen in threads.
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
_LOOK_EVERY = 1.0
_AGAIN_EVERY = 10.0


class Server(Protocol):
    """A PostgreSQL or a Kafka of our own."""

    @property
    def running(self) -> bool:
        """Whether it lives."""
        ...

    def start(self) -> None:
        """Return when it answers."""
        ...


@dataclass(frozen=True, slots=True)
class OwnServer:
    """One that runs."""

    name: str
    address: str
    """What its clients connect to; it stays, over restarts."""

    server: Server
    turn: Lock
    """Held while the server is started or stopped."""

    async def kept_up(self, say: Callable[[str], None], clock: Clock) -> None:
        """Restart the server whenever it ends; its data and its address stay the same."""
        while True:
            await clock.sleep(_LOOK_EVERY)
            if self.server.running:
                continue
            say(f"({self.name} has ended, and is started again)")
            try:
                await asyncio.to_thread(self._start)
            except (ServerFailed, ServerMissing) as exc:
                say(f"({exc}\nThe next try is in {_AGAIN_EVERY:g} s)")
                await clock.sleep(_AGAIN_EVERY)

    def _start(self) -> None:
        with self.turn:
            self.server.start()


@asynccontextmanager
async def own_postgres(folder: Path) -> AsyncIterator[OwnServer]:
    """Run a PostgreSQL that keeps everything in `folder`.

    Raises:
        SettingsError: it cannot be run there; the text says what would help.
    """
    try:
        server, address = await asyncio.to_thread(_started_postgres, folder)
    except FolderInUse as exc:
        raise SettingsError(
            f"{exc}. It runs here already? Stop that one, or let this one keep its data elsewhere: TRELAY_DATA=…"
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
    """Run a Kafka that keeps everything in `folder`.

    Raises:
        SettingsError: it cannot be run there; the text says what would help.
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
    def in_turn() -> None:
        with own.turn:
            stop()

    try:
        yield
    finally:
        await asyncio.to_thread(in_turn)


def need_port(port: int) -> None:
    """Make sure, before anything is started, that we can listen on this port of the loopback.

    Raises:
        SettingsError: we cannot.
    """
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as exc:
        reason = os.strerror(exc.errno) if exc.errno else exc
        raise SettingsError(
            f"cannot listen on 127.0.0.1 port {port}: {reason}. Name another: TRELAY_PORT=… (0 takes a free one)"
        ) from exc
