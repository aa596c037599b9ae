import asyncio
import ssl
from pathlib import Path
from typing import NoReturn

import pytest
import trustme
from aiohttp import ClientSession, web

from shared.errors import SettingsError
from shared.http.server import Health, HealthOptions, ListenOptions, application, serve
from shared.http.tls import TlsOptions
from tests.unit.shared.http.test_tls import issue

ANY_PORT = ListenOptions(port=0)


@pytest.fixture
def health() -> Health:
    return Health("test")


async def test_always_alive_and_ready_only_when_nothing_is_missing(health: Health) -> None:
    health.readiness.require("bus")
    async with serve(application(ANY_PORT, health), ANY_PORT, health) as at, ClientSession(at.health_url) as client:
        async with client.get("/healthz") as response:
            assert response.status == 200
        async with client.get("/readyz") as response:
            assert response.status == 503
            assert (await response.json())["missing"] == {"bus": "not connected yet"}
        health.readiness.report("bus", None)
        async with client.get("/readyz") as response:
            assert response.status == 200
            assert response.headers["Cache-Control"] == "no-store"


async def test_a_listener_for_strangers_names_the_missing_parts_without_reasons(health: Health) -> None:
    health.readiness.require("bus", lambda: "Kafka at kafka-0:9092: connection refused")
    health.readiness.note("mail", lambda: "mail server mail:25: connection refused")
    hidden = {"ready": False, "draining": False, "missing": {"bus": "unavailable"}, "notes": {"mail": "unavailable"}}
    for listen in (ANY_PORT, ListenOptions(port=0, health=HealthOptions(port=0))):
        app = application(listen, health, reasons=False)
        async with serve(app, listen, health) as at, ClientSession() as client:
            async with client.get(f"{at.health_url}/readyz") as response:
                assert response.status == 503
                found = await response.json()
            assert (found == hidden) == (listen is ANY_PORT)
            assert ("kafka-0" in found["missing"]["bus"]) == (listen is not ANY_PORT)
        health.readiness.draining = False


async def test_metrics_in_the_format_that_is_asked_for(health: Health) -> None:
    async with serve(application(ANY_PORT, health), ANY_PORT, health) as at, ClientSession(at.url) as client:
        async with client.get("/metrics") as response:
            assert response.content_type == "text/plain"
            assert "trelay_ready 1.0" in await response.text()
        async with client.get("/metrics", headers={"Accept": "application/openmetrics-text"}) as response:
            assert response.content_type == "application/openmetrics-text"
            assert (await response.text()).endswith("# EOF\n")


async def test_health_may_have_a_port_of_its_own(health: Health) -> None:
    listen = ListenOptions(port=0, health=HealthOptions(port=0))
    async with serve(application(listen, health), listen, health) as at, ClientSession() as client:
        assert at.health_url != at.url
        async with client.get(f"{at.health_url}/metrics") as response:
            assert response.status == 200
        async with client.get(f"{at.url}/metrics") as response:
            assert response.status == 404


async def test_health_responds_until_the_requests_in_progress_have_ended(health: Health) -> None:
    listen = ListenOptions(port=0, health=HealthOptions(port=0))
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_request: web.Request) -> web.Response:
        entered.set()
        await go_on.wait()
        return web.Response(text="done")

    app = application(listen, health)
    app.router.add_get("/slow", slow)
    closing = asyncio.Event()

    async def closes(_app: web.Application) -> None:
        closing.set()

    app.on_shutdown.append(closes)
    leave = asyncio.Event()
    addresses: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    async def service() -> None:
        async with serve(app, listen, health) as at:
            addresses.put_nowait((at.url, at.health_url))
            await leave.wait()

    serving = asyncio.create_task(service())
    url, health_url = await addresses.get()
    async with ClientSession() as client:
        request = asyncio.create_task(client.get(f"{url}/slow"))
        await entered.wait()
        leave.set()
        await closing.wait()
        async with client.get(f"{health_url}/readyz") as response:
            assert response.status == 503
            assert (await response.json())["draining"] is True
        go_on.set()
        async with await request as response:
            assert await response.text() == "done"
    await serving


async def test_errors_are_problem_details_without_versions(health: Health) -> None:
    async def fails(_request: web.Request) -> NoReturn:
        raise RuntimeError("insides")

    app = application(ANY_PORT, health)
    app.router.add_get("/fails", fails)
    async with serve(app, ANY_PORT, health) as at, ClientSession(at.url) as client:
        for path, status in (("/absent", 404), ("/fails", 500), ("/healthz", 200)):
            async with client.get(path) as response:
                assert response.status == status
                assert response.headers["Server"] == "trelay"
                if status != 200:
                    assert response.content_type == "application/problem+json"


async def test_what_is_no_http_is_refused_quietly(health: Health, caplog: pytest.LogCaptureFixture) -> None:
    async with serve(application(ANY_PORT, health), ANY_PORT, health) as at:
        host, _, port = at.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"\x16\x03\x01garbage\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.0 400 ")
    assert b"aiohttp" not in answer
    assert b"Server: trelay" in answer
    assert not caplog.records


async def test_a_body_above_the_limit_is_refused(health: Health) -> None:
    listen = ListenOptions(port=0, body_limit=1024)

    async def takes(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    app = application(listen, health)
    app.router.add_post("/take", takes)
    async with serve(app, listen, health) as at, ClientSession(at.url) as client:
        async with client.post("/take", data=b"x" * 1024) as response:
            assert await response.text() == "1024"
        async with client.post("/take", data=b"x" * 1025) as response:
            assert response.status == 413
            assert (await response.json())["detail"] == "the body is above the limit of 1024 bytes"


async def test_an_address_that_is_taken_is_named(health: Health) -> None:
    async with serve(application(ANY_PORT, health), ANY_PORT, health) as at:
        listen = ListenOptions(port=int(at.url.rpartition(":")[2]))
        with pytest.raises(
            SettingsError, match=rf"cannot listen on 127.0.0.1 port {listen.port}: Address already in use$"
        ):
            async with serve(web.Application(), listen, health):
                pass


async def test_serves_tls_and_shows_a_renewed_certificate(health: Health, tmp_path: Path) -> None:
    authority = trustme.CA()
    pair = issue(authority, tmp_path, "127.0.0.1")
    tls = TlsOptions(cert_file=pair.cert_file, key_file=pair.key_file, reload_interval=0.01)
    listen = ListenOptions(port=0, tls=tls)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def serial_shown(url: str) -> object:
        host, _, port = url.removeprefix("https://").partition(":")
        _, writer = await asyncio.open_connection(host, int(port), ssl=trusting)
        found = writer.get_extra_info("peercert")["serialNumber"]
        writer.close()
        await writer.wait_closed()
        return found

    async with serve(application(listen, health), listen, health) as at:
        before = await serial_shown(at.url)
        async with ClientSession(at.url) as client, client.get("/healthz", ssl=trusting) as response:
            assert response.status == 200
        issue(authority, tmp_path, "127.0.0.1")
        async with asyncio.timeout(60):
            while await serial_shown(at.url) == before:
                await asyncio.sleep(0.01)
