"""Connections for tests: without a socket, but with everything else."""

import asyncio
import os
from collections.abc import Callable
from typing import cast
from uuid import uuid4

from services.experience_api.hub.audience import interest_in
from services.experience_api.hub.connection import Connection, Subscriber
from services.experience_api.hub.outbox import Outbox
from tests.unit.services.experience_api.hub.transports import FakeTransport


class Inner(asyncio.Protocol):
    """In aiohttp's place: remembers what it was told."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def data_received(self, data: bytes) -> None:
        self.heard.append(f"data {data!r}")

    def eof_received(self) -> bool | None:
        self.heard.append("eof")
        return None

    def pause_writing(self) -> None:
        self.heard.append("pause")

    def resume_writing(self) -> None:
        self.heard.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.heard.append(f"lost {exc}")


def subscriber(*channels: str, may_send: bool = False) -> Subscriber:
    return Subscriber(uuid4(), "client", interest_in(channels or ("**",)), may_send)


def connection(
    transport: FakeTransport,
    *channels: str,
    gone: Callable[[Connection], None] = lambda _connection: None,
    inner: Inner | None = None,
    limit: int = 100_000,
) -> Connection:
    """A connection that writes to a transport of ours, and to nothing but it."""
    outbox = Outbox(transport, None, limit)
    return Connection(subscriber(*channels), outbox, cast("asyncio.Transport", transport), inner or Inner(), gone)


class Pipe:
    """A real descriptor to write to, whose other end reads when the test says so."""

    def __init__(self) -> None:
        self._read, self.write = os.pipe()
        os.set_blocking(self.write, False)

    def read(self) -> bytes:
        return os.read(self._read, 10**6)

    def close(self) -> None:
        os.close(self._read)
        os.close(self.write)
