"""Servers of our own are kept up, and a port that is taken is named."""

import asyncio
import re
import socket
from threading import Lock

import pytest

from services.standalone.embedded.process import ServerFailed
from services.standalone.servers import OwnServer, need_port
from shared.errors import SettingsError
from tests.unit.clients.python.trelay_client.fake_server import FastClock


class Mortal:
    """Is dead at first, and lives from the second start on."""

    def __init__(self) -> None:
        self.running = False
        self.starts = 0
        self.lives = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        self.starts += 1
        if self.starts == 1:
            raise ServerFailed("no space left on device")
        self.running = True
        self._loop.call_soon_threadsafe(self.lives.set)


async def test_a_server_that_ends_is_restarted_until_it_runs() -> None:
    server, clock, said = Mortal(), FastClock(), list[str]()
    keeping = asyncio.create_task(OwnServer("PostgreSQL", "", server, Lock()).kept_up(said.append, clock))
    async with asyncio.timeout(60):
        await server.lives.wait()
        looks = len(clock.pauses)
        while len(clock.pauses) < looks + 5:
            await asyncio.sleep(0)
    keeping.cancel()
    assert server.starts == 2
    assert said == [
        "(PostgreSQL has ended; restarting)",
        "(no space left on device\nRetrying in 10 s)",
        "(PostgreSQL has ended; restarting)",
    ]


def test_a_port_in_use_is_named_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        expected = re.escape(f"port {port}: Address already in use. Choose another: TRELAY_PORT")
        with pytest.raises(SettingsError, match=expected):
            need_port(port)
    need_port(0)
