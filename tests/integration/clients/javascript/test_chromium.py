"""The JavaScript client in a page of another origin, in a real Chromium: nothing is lost, nothing comes twice."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from aiohttp import web

from tests.integration.clients.javascript.chromium import Chromium, Tab
from tests.integration.services.experience_api.replicas import Deployment, Replica
from tests.servers.missing import skipping_without

PAGE = Path(__file__).with_name("page.html")
COMPRESSED = "trelay_experience_compressed_connections"
SEEN = "JSON.parse(localStorage.getItem('seen') ?? '[]')"


class Backend:
    """The page's own server: it keeps the token, and exchanges it for tickets."""

    def __init__(self, library: Path) -> None:
        self.replica: Replica
        self.token = ""
        self.origin = ""
        self._library = library

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/", self._page)
        app.router.add_post("/ticket", self._ticket)
        app.router.add_static("/dist", self._library)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.origin = f"http://localhost:{runner.addresses[0][1]}"
        try:
            yield
        finally:
            await runner.cleanup()

    async def _page(self, _request: web.Request) -> web.StreamResponse:
        return web.FileResponse(PAGE)

    async def _ticket(self, _request: web.Request) -> web.StreamResponse:
        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            response = await self.replica.request("POST", f"/tickets?origin={self.origin}", headers)
        except OSError:
            return web.Response(status=503, text="the relay does not answer")
        return web.Response(status=response.status, text=str(response.json.get("ticket", "")))


class Scenario:
    """Events with growing numbers, and a page that keeps those that it has seen."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._count = 0

    async def push(self) -> None:
        await self._backend.replica.push("orders", *range(self._count, self._count + 3))
        self._count += 3

    async def arrived(self, tab: Tab) -> None:
        """Wait until the page has seen every event, and check that it has seen each once and in order."""
        found = await tab.until(SEEN, lambda found: found is not None and len(found) >= self._count)
        assert found == list(range(self._count))
        assert await tab.evaluate("localStorage.getItem('gaps')") is None


def options(backend: Backend, port: int = 0, *, compressed: bool = False) -> dict[str, Any]:
    return {
        "listen": {"port": port},
        "origins": [backend.origin],
        "delivery": {
            "drain": {"spread": 0},
            "hub": {"heartbeat": {"seconds": 2}},
            "compression": {"enabled": compressed, "min_bytes": 1},
        },
    }


async def compressed_connections(replica: Replica) -> int:
    """Return how many connections of a replica are compressed now."""
    found = await replica.request("GET", "/metrics")
    (line,) = (line for line in found.text.splitlines() if line.startswith(f"{COMPRESSED} "))
    return int(float(line.split()[1]))


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_a_page_sees_every_event_once(
    deployment: Deployment, library: Path, tmp_path: Path, pytestconfig: pytest.Config, transport: str
) -> None:
    backend = Backend(library)
    scenario = Scenario(backend)
    with skipping_without("Chromium", pytestconfig):
        browser = Chromium.running(tmp_path)
        chromium = await browser.__aenter__()
    try:
        async with backend.listening():
            # The first replica compresses, the next one does not.
            async with deployment.replica(options(backend, compressed=True)) as replica:
                backend.replica, backend.token = replica, await replica.register()
                port = urlsplit(replica.url).port or 0
                url = f"{backend.origin}/?relay={quote(replica.url)}&transport={transport}"
                tab = await chromium.open(url)
                await tab.until("window.connected", lambda found: found == "trelay.connected")
                await scenario.push()
                await scenario.arrived(tab)
                assert await compressed_connections(replica) == (transport == "websocket")
                await _reloaded(scenario, tab)
                if transport == "websocket":
                    await _offline(scenario, tab)
                    await _asleep(scenario, tab)
                    tab = await _second_tab(scenario, chromium, tab, url)
            async with deployment.replica(options(backend, port)) as replica:
                backend.replica = replica
                await scenario.push()
                await scenario.arrived(tab)
                assert await compressed_connections(replica) == 0
    finally:
        await browser.__aexit__(None, None, None)


async def _reloaded(scenario: Scenario, tab: Tab) -> None:
    await scenario.push()
    await tab.evaluate("window.old = true")
    await tab.call("Page.reload")
    await scenario.push()
    await tab.until("!window.old && window.connected", lambda found: found == "trelay.connected")
    await scenario.arrived(tab)


async def _offline(scenario: Scenario, tab: Tab) -> None:
    await tab.offline(offline=True)
    await scenario.push()
    await tab.offline(offline=False)
    await scenario.arrived(tab)


async def _asleep(scenario: Scenario, tab: Tab) -> None:
    await tab.sleep(frozen=True)
    await scenario.push()
    await tab.sleep(frozen=False)
    await scenario.arrived(tab)


async def _second_tab(scenario: Scenario, chromium: Chromium, first: Tab, url: str) -> Tab:
    """A second tab is told why it may not connect, and continues when the first one is closed."""
    second = await chromium.open(url)
    await second.until("JSON.stringify(window.retries)", lambda found: "4005: already connected" in (found or ""))
    await scenario.push()
    await scenario.arrived(first)
    await first.close()
    await scenario.push()
    await scenario.arrived(second)
    return second
