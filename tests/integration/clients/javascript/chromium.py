"""Drives a real Chromium over its DevTools protocol: pages in headless tabs."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp

from tests.servers.debian import need_command

TIMEOUT = 60.0
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-extensions", "--remote-debugging-port=0",
)  # fmt: skip


class Tab:
    """One page."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol."""
        self._number += 1
        await self._socket.send_str(json.dumps({"id": self._number, "method": method, "params": parameters}))
        async with asyncio.timeout(TIMEOUT):
            while True:
                answer = json.loads((await self._socket.receive()).data)
                if answer.get("id") == self._number:
                    assert "error" not in answer, answer
                    found: dict[str, Any] = answer["result"]
                    return found

    async def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        return found["result"].get("value")

    async def until(self, expression: str, wanted: Callable[[Any], bool]) -> Any:
        """Wait until an expression has a wanted value, and return it."""
        found = None
        try:
            async with asyncio.timeout(TIMEOUT):
                while not wanted(found := await self.evaluate(expression)):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            retries = await self.evaluate("JSON.stringify(window.retries)")
            raise AssertionError(f"{expression}: found {found!r} after {TIMEOUT:g} s; retries {retries}") from None
        return found

    async def offline(self, *, offline: bool) -> None:
        """Take the network of the page away, or give it back."""
        await self.call("Network.enable")
        await self.call(
            "Network.emulateNetworkConditions",
            offline=offline, latency=0, downloadThroughput=-1, uploadThroughput=-1,
        )  # fmt: skip

    async def sleep(self, *, frozen: bool) -> None:
        """Freeze the page, as a browser does with tabs in the background, or wake it."""
        await self.call("Page.setWebLifecycleState", state="frozen" if frozen else "active")

    async def close(self) -> None:
        """Close the page."""
        await self.call("Page.close")


class Chromium:
    """A browser with a profile of its own."""

    def __init__(self, http: aiohttp.ClientSession, address: str, stack: AsyncExitStack) -> None:
        self._http = http
        self._address = address
        self._stack = stack

    @classmethod
    @asynccontextmanager
    async def running(cls, profile: Path) -> AsyncIterator[Self]:
        """Run a browser.

        Raises:
            ServerMissing: Chromium is not installed, and cannot be.
        """
        program = need_command("chromium", "chromium")
        process = await asyncio.create_subprocess_exec(
            program, *_FLAGS, f"--user-data-dir={profile}", "about:blank",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stderr is not None
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(TIMEOUT):
                    while b"DevTools listening on ws://" not in (line := await process.stderr.readline()):
                        assert line, "Chromium ended"
                drain = asyncio.ensure_future(_drain(process.stderr))
                stack.callback(drain.cancel)
                http = await stack.enter_async_context(aiohttp.ClientSession())
                yield cls(http, line.decode().partition("ws://")[2].partition("/")[0], stack)
        finally:
            process.kill()
            await process.wait()

    async def open(self, url: str) -> Tab:
        """Open a page in a new tab."""
        async with self._http.put(f"http://{self._address}/json/new?about:blank") as response:
            target = await response.json()
        socket = await self._stack.enter_async_context(
            self._http.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0)
        )
        tab = Tab(socket)
        await tab.call("Page.navigate", url=url)
        return tab


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.readline():
        pass
