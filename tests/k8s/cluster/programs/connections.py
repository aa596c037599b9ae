"""Opens connections and keeps them, in a pod, until SIGTERM; then prints how many it had as one line of JSON."""

import asyncio
import json
import os
import signal
import ssl
import sys
import time

import aiohttp

from services.experience_api.auth.clients import add_client
from services.experience_api.registry.postgres import PostgresRegistry
from shared.database.options import DatabaseOptions

URL = os.environ.get("URL", "https://experience-api:8080")
DATABASE = "postgresql://trelay@postgresql:5432/trelay"
PASSWORD = "/run/secrets/trelay/database/password"
SECRET = "a-secret-of-the-program-with-connections"
CONNECTIONS = int(os.environ["CONNECTIONS"])
A_CLIENT = 100
"""Connections of one client: the most that it may have."""
AT_A_TIME = 20
PAUSE = 0.5


class Crowd:
    """All connections."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._opening = asyncio.Semaphore(AT_A_TIME)
        self.open = 0
        self.frames = 0
        self.ended = 0

    async def keep(self, token: str) -> None:
        """Connect, again after each failure, until cancelled."""
        while True:
            try:
                async with self._opening:
                    socket = await self._session.ws_connect(
                        f"{URL}/ws/publish", headers={"Authorization": f"Bearer {token}"}, autoping=True
                    )
            except (aiohttp.ClientError, OSError, TimeoutError):
                await asyncio.sleep(PAUSE)
                continue
            self.open += 1
            try:
                async for _ in socket:
                    self.frames += 1
            finally:
                self.open -= 1
                self.ended += 1
                await socket.close()


async def main() -> int:
    """Run until SIGTERM."""
    names = [f"crowd-{time.time_ns()}-{number}" for number in range(-(-CONNECTIONS // A_CLIENT))]
    await _add_clients(names)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    trusted = ssl.create_default_context(cafile="/authority/ca.crt")
    connector = aiohttp.TCPConnector(limit=0, ssl=trusted)
    timeout = aiohttp.ClientTimeout(total=None, connect=30)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        tokens = [await _register(session, name) for name in names]
        crowd = Crowd(session)
        began = time.monotonic()
        running = [asyncio.create_task(crowd.keep(tokens[number // A_CLIENT])) for number in range(CONNECTIONS)]
        while crowd.open < CONNECTIONS and not stop.is_set():
            await asyncio.sleep(0.1)
        print(f"connected {crowd.open} in {time.monotonic() - began:.1f} s", flush=True)
        await stop.wait()
        verdict = {"open": crowd.open, "frames": crowd.frames, "ended": crowd.ended}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    print(json.dumps(verdict), flush=True)
    return 0


async def _add_clients(names: list[str]) -> None:
    options = DatabaseOptions.model_validate({"url": DATABASE, "password": {"file": PASSWORD}})
    async with PostgresRegistry.opened(options) as registry:
        for name in names:
            await add_client(registry, name, secret=SECRET, max_connections=A_CLIENT)


async def _register(session: aiohttp.ClientSession, name: str) -> str:
    headers = {"Client-Id": name, "Client-Secret": SECRET}
    async with session.post(f"{URL}/consumers", headers=headers) as answer:
        answer.raise_for_status()
        return str((await answer.json())["token"])


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
