"""Connections without a socket, for tests."""

import asyncio
import os
from collections.abc import Callable
from typing import cast
from uuid import uuid4

from services.experience_api.hub.audience import Subscriber, interest_in
from services.experience_api.hub.connection import Connection
from services.experience_api.hub.outbox import Outbox
from tests.unit.services.experience_api.hub.transports import FakeTransport


class Inner(asyncio.Protocol):
    """Stands in for aiohttp's protocol: records its callbacks."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def data_received(self, data: bytes) -> None:
        self.calls.append(f"data {data!r}")

    def eof_received(self) -> bool | None:
        self.calls.append("eof")
        return None

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append(f"lost {exc}")


def subscriber(*channels: str, may_send: bool = False, answers: bool = False) -> Subscriber:
    return Subscriber(uuid4(), "client", interest_in(channels or ("**",)), may_send, answers=answers)


def connection(
    transport: FakeTransport,
    *channels: str,
    on_detach: Callable[[Connection], None] = lambda _connection: None,
    inner: Inner | None = None,
    limit: int = 100_000,
    window: int = 0,
    answers: bool = False,
) -> Connection:
    """Return a connection that writes to a fake transport only."""
    outbox = Outbox(transport, None, limit, window)
    who = subscriber(*channels, answers=answers)
    return Connection(who, outbox, cast("asyncio.Transport", transport), inner or Inner(), on_detach)


class Pipe:
    """A real descriptor to write to; the test reads the other end."""

    def __init__(self) -> None:
        self._read, self.write = os.pipe()
        os.set_blocking(self.write, False)

    def read(self) -> bytes:
        return os.read(self._read, 10**6)

    def close(self) -> None:
        os.close(self._read)
        os.close(self.write)
