"""Measures a replica under a flood of upgrades with bogus tokens, from one address and from 4,000.

For each: delays of live events, from the bus (in memory) to the WebSocket; how long handshakes of clients with good
tokens take, from the connection to the first event; how many upgrades of the flood are refused a second. The replica,
the flood and this program are a process each, and all addresses are of the loopback.
"""

import argparse
import asyncio
import json
import socket
import struct
import subprocess
import sys
import time

import aiohttp
import uvloop

from benchmarks.children import child
from benchmarks.measuring import as_services_run
from benchmarks.probing import percentile
from services.experience_api.app import build_experience_api
from services.experience_api.auth.clients import add_client
from services.experience_api.registry.postgres import PostgresRegistry
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Outgoing
from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from tests.integration.services.experience_api.flood import UPGRADE
from tests.integration.services.experience_api.replicas import LONG_LEASES, settings
from tests.integration.services.experience_api.test_snapshots import PUBLISH
from tests.servers.postgres import postgres_server

_ATTACK, _REPLICA = "attack", "replica"
_CLIENTS = 10
"""With good tokens, each of which connects again and again."""
_RESET = struct.pack("ii", 1, 0)
_RATE = 50
"""Events a second, and handshakes of them all."""


async def replica(dsn: str) -> None:
    """Be the replica, and publish events: each with the time when it was due, so that a busy loop delays it as well."""
    options = settings(DatabaseOptions(url=dsn), LONG_LEASES)
    bus, number, loop = MemoryBus(), 0, asyncio.get_running_loop()
    async with (
        PostgresRegistry.opened(options.database) as registry,
        build_experience_api(options, bus=bus, registry=registry, alerts=RecordingAlerts()) as service,
        bus.appender() as appender,
    ):
        print(service.listening.url, flush=True)
        began = loop.time()
        while True:
            number += 1
            due = began + number / _RATE
            await asyncio.sleep(max(0.0, due - loop.time()))
            event = {"specversion": "1.0", "id": str(number), "source": "/sources/bench", "type": "bench", "data": due}
            await appender.append(PUBLISH, [Outgoing(b"bench", json.dumps(event).encode())])


class Attack:
    """Sends upgrades with tokens that nobody has signed, each on a connection of its own."""

    def __init__(self, port: int, addresses: int, in_flight: int) -> None:
        self.refused = 0
        self._port = port
        self._addresses = addresses
        self._in_flight = in_flight
        self._number = 0

    async def run(self) -> None:
        """Send until cancelled."""
        await asyncio.gather(*(self._send() for _ in range(self._in_flight)))

    async def _send(self) -> None:
        while True:
            self._number += 1
            address = self._number % self._addresses
            source = f"127.9.{address // 250}.{address % 250 + 1}"
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port, local_addr=(source, 0))
            except OSError:
                await asyncio.sleep(0.01)  # no port is left at this address for a moment
                continue
            peer = writer.get_extra_info("socket")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)  # else one address runs out of ports
            try:
                writer.write(UPGRADE % self._number)
                head = await reader.readuntil(b"\r\n\r\n")
                self.refused += head.split()[1] in {b"401", b"429", b"503"}
            except (OSError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()


async def attack(port: int, addresses: int, in_flight: int) -> None:
    """Be the flood: answer each line of the standard input with the number of refusals since the last one."""
    flood = Attack(port, addresses, in_flight)
    running = asyncio.ensure_future(flood.run())
    while await asyncio.to_thread(sys.stdin.readline):
        found, flood.refused = flood.refused, 0
        print(found, flush=True)
    running.cancel()


class Measured:
    """Milliseconds of one time."""

    def __init__(self) -> None:
        self.events: list[float] = []
        self.handshakes: list[float] = []

    def line(self, name: str) -> str:
        """Return a row of the output."""
        found = [percentile(values, share) for values in (self.events, self.handshakes) for share in (0.5, 0.99)]
        return f"{name:<28}" + "".join(f"{value:>12.1f} ms" for value in found)


class Subscribers:
    """Clients with good tokens."""

    def __init__(self, url: str, http: aiohttp.ClientSession, tokens: list[str]) -> None:
        self._url, self._http, self._tokens = url, http, tokens
        self.measured = Measured()

    async def live(self) -> None:
        """Note how late each event comes. The clock of the loop is that of all processes."""
        async with self._connect(self._tokens[0]) as socket:
            async for message in socket:
                due = json.loads(message.data).get("data")
                if isinstance(due, float):
                    self.measured.events.append((asyncio.get_running_loop().time() - due) * 1000)
        raise RuntimeError(f"the connection has ended with {socket.close_code}")

    async def connects(self, token: str) -> None:
        """Connect and leave, again and again."""
        while True:
            began = time.perf_counter()
            async with self._connect(token) as socket:
                await socket.receive()
                self.measured.handshakes.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(_CLIENTS / _RATE)

    async def during(self, seconds: float) -> Measured:
        """Return what is measured in the next seconds."""
        await asyncio.sleep(2)  # of which the begin is no part
        self.measured = Measured()
        await asyncio.sleep(seconds)
        return self.measured

    async def run(self) -> None:
        """Be active until cancelled."""
        await asyncio.gather(self.live(), *(self.connects(token) for token in self._tokens[1:]))

    def _connect(self, token: str) -> aiohttp.client._WSRequestContextManager:
        headers = {"Authorization": f"Bearer {token}"}
        return self._http.ws_connect(f"{self._url}/ws/publish", headers=headers)


async def registered(options: DatabaseOptions, url: str, http: aiohttp.ClientSession) -> list[str]:
    """Return the tokens of some clients."""
    tokens = []
    async with PostgresRegistry.opened(options) as registry:
        for name in (f"client-{number}" for number in range(1 + _CLIENTS)):
            secret = await add_client(registry, name)
            headers = {"Client-Id": name, "Client-Secret": secret}
            async with http.post(f"{url}/consumers", headers=headers) as response:
                tokens.append((await response.json())["token"])
    return tokens


async def measure(options: DatabaseOptions, url: str, chosen: argparse.Namespace) -> None:
    """Print a row for each flood."""
    async with aiohttp.ClientSession() as http:
        port = int(url.rpartition(":")[2])
        subscribers = Subscribers(url, http, await registered(options, url, http))
        running = asyncio.ensure_future(subscribers.run())
        print(f"{'':<28}{'event p50':>15}{'p99':>15}{'handshake p50':>15}{'p99':>15}", flush=True)
        for addresses in (0, 1, chosen.addresses):
            if not addresses:
                print((await subscribers.during(chosen.seconds)).line("quiet"), flush=True)
                continue
            program = (sys.executable, "-m", "benchmarks.flood", _ATTACK, str(port), str(addresses))
            with child(*program, str(chosen.in_flight)) as flood:
                await asyncio.to_thread(flood.ask, "")
                found = await subscribers.during(chosen.seconds)
                rate = await asyncio.to_thread(flood.ask, "") / (chosen.seconds + 2)
            row = found.line(f"from {addresses:,} address{'es' * (addresses > 1)}")
            print(f"{row}   {rate:,.0f} refused/s", flush=True)
        assert not running.done(), running.result()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until_ready(url: str) -> None:
    """Wait until the replica is ready."""
    async with aiohttp.ClientSession() as http:
        while True:
            async with http.get(f"{url}/readyz") as response:
                if response.status == 200:
                    return
            await asyncio.sleep(0.1)


async def measure_replica(options: DatabaseOptions, url: str, chosen: argparse.Namespace) -> None:
    """Measure a replica once it is ready."""
    await until_ready(url)
    await measure(options, url, chosen)


def main() -> None:
    """Parse the command line, and run."""
    if sys.argv[1:2] == [_ATTACK]:
        uvloop.run(attack(*(int(given) for given in sys.argv[2:])))
        return
    if sys.argv[1:2] == [_REPLICA]:
        as_services_run()
        uvloop.run(replica(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--addresses", type=int, default=4000)
    parser.add_argument("--in-flight", type=int, default=200, help="upgrades of the flood at the same time")
    chosen = parser.parse_args()
    with postgres_server() as server:
        options = DatabaseOptions(url=server.dsn())
        uvloop.run(migrate(options))
        program = [sys.executable, "-m", "benchmarks.flood", _REPLICA, server.dsn()]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                uvloop.run(measure_replica(options, process.stdout.readline().strip(), chosen))
            finally:
                process.kill()


if __name__ == "__main__":
    main()
