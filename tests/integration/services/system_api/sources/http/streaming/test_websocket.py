"""WebSockets of a real server, and of another Trelay."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from services.experience_api.app import build_experience_api
from services.experience_api.auth.clients import add_client
from services.experience_api.registry.memory import MemoryRegistry
from services.experience_api.settings import ExperienceSettings
from services.system_api.sources.http.streaming import websocket
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.errors import SettingsError, Unauthorized, Unavailable
from shared.http.client.failures import UnusableResponse
from shared.http.server import Health
from shared.lease import MemoryLeaseStore
from tests.integration.services.system_api.sources.http.streaming.reading import StreamReading
from tests.servers.http_api import HttpApi, http_api

Talk = Callable[[web.WebSocketResponse, web.Request], Awaitable[None]]


@pytest.fixture
async def api() -> AsyncIterator[HttpApi]:
    async with http_api() as api:
        yield api


def serve(api: HttpApi, talk: Talk) -> str:
    """Talk to each connection; return the URL."""

    async def answer(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await talk(socket, request)
        return socket

    api.answers["/ws"] = answer
    return api.url("/ws").replace("http", "ws")


async def test_subscribes_and_resumes_by_a_parameter(api: HttpApi) -> None:
    async def talk(socket: web.WebSocketResponse, request: web.Request) -> None:
        after = int(request.query.get("after", "0"))
        asked = await socket.receive_json()
        await socket.send_json({"at": after + 1, "asked": asked})
        await socket.send_bytes(b'{"heartbeat":true}')

    url = serve(api, talk)
    settings = {
        "cursor": "at",
        "cursor_parameter": "after",
        "subscribe": ['{"op":"s"}'],
        "records": "$[$exists(asked)]",
    }
    reading = StreamReading("websocket", url, **settings)
    async with reading.opened() as source:
        assert await reading.until(source, 2) == [{"at": 1, "asked": {"op": "s"}}, {"at": 2, "asked": {"op": "s"}}]
    assert [event["id"] for event in reading.events] == ["s:1", "s:2"]
    assert reading.losses == []


async def test_a_message_above_the_limit_stops_no_other(api: HttpApi) -> None:
    """A server that resumes sends it again to each connection that ends at it."""

    async def talk(socket: web.WebSocketResponse, request: web.Request) -> None:
        for at in range(int(request.query.get("after", "0")) + 1, 4):
            await socket.send_json({"at": at, "data": "x" * 2000 if at == 2 else ""})
        await socket.receive()

    settings = {"cursor": "at", "cursor_parameter": "after", "message_limit": 1024}
    reading = StreamReading("websocket", serve(api, talk), **settings)
    for _ in range(2):
        async with reading.opened() as source:
            await reading.until(source, 3)
    assert [event["id"] for event in reading.events] == ["s:1", "s:3"]
    assert reading.rejects == ["2: a message above message_limit (1024)"]


async def test_a_message_that_does_not_fit_into_memory_ends_the_connection(
    api: HttpApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "LARGEST", 4096)

    async def talk(socket: web.WebSocketResponse, _request: web.Request) -> None:
        await socket.send_str('"%s"' % ("x" * 5000))
        await socket.receive()

    async with StreamReading("websocket", serve(api, talk), message_limit=1024).opened() as source:
        await source.wait_for_change()
        with pytest.raises(Unavailable, match="a message is larger than 4096 bytes"):
            await source.poll(1)


@pytest.mark.parametrize(
    ("status", "error"), [(401, Unauthorized), (409, Unavailable), (500, Unavailable), (404, UnusableResponse)]
)
async def test_a_refused_handshake(api: HttpApi, status: int, error: type[Exception]) -> None:
    api.answer("/ws", status)
    with pytest.raises(error):
        async with StreamReading("websocket", api.url("/ws").replace("http", "ws")).opened():
            pass


@pytest.mark.parametrize(
    "auth",
    [
        {"kind": "bearer", "token": "s3cret"},
        {"kind": "api_key", "name": "X-Api-Key", "value": "s3cret"},
        {"kind": "api_key", "name": "key", "value": "s3cret", "place": "query"},
    ],
)
async def test_a_redirect_is_not_followed_and_gets_no_credentials(api: HttpApi, auth: dict[str, str]) -> None:
    async with http_api() as other:
        api.answer("/ws", (302, {"Location": other.url("/ws")}, None))
        with pytest.raises(UnusableResponse, match=r"302 to 'http://127\.0\.0\.1:.*not followed") as caught:
            async with StreamReading("websocket", api.url("/ws").replace("http", "ws"), auth=auth).opened():
                pass
        assert other.requests == []
    assert "s3cret" not in str(caught.value)


async def test_a_resume_message_that_fails_is_named(api: HttpApi) -> None:
    async def talk(socket: web.WebSocketResponse, _request: web.Request) -> None:
        await socket.receive()

    for resume in ("$number('x')", "nothing"):
        settings = {"cursor": "at", "resume": resume, "start": "1"}
        with pytest.raises(SettingsError, match=r"system\.sources\.s\.resume"):
            async with StreamReading("websocket", serve(api, talk), **settings).opened():
                pass


async def test_another_trelay_is_read_once_and_its_gaps_are_losses() -> None:
    leases, health, bus = MemoryLeaseStore(), Health("test"), MemoryBus()
    registry = MemoryRegistry(leases)
    await add_client(registry, "site", secret="a secret of the site")
    listen = {"listen": {"port": 0}, "drain_delay": 0, "drain_within": 1, "entity": {"allow": ["127.0.0.0/8"]}}
    settings = ExperienceSettings.model_validate({"experience": listen})
    async with (
        build_experience_api(
            settings, bus=bus, registry=registry, leases=leases, alerts=RecordingAlerts(), health=health
        ) as service,
        aiohttp.ClientSession() as http,
    ):
        while not health.readiness.ready:
            await asyncio.sleep(0.01)
        url = service.listening.url
        headers = {"client_id": "site", "client_secret": "a secret of the site"}
        async with http.post(f"{url}/consumers", headers=headers) as response:
            token = (await response.json())["token"]

        async def push(*numbers: int) -> None:
            for number in numbers:
                async with http.post(f"{url}/entity?channel=orders&subject=a", json={"n": number}) as response:
                    assert response.status == 202

        given = {"cloudevents": True, "cursor": "cursor", "cursor_parameter": "cursor"}
        given |= {"auth": {"kind": "bearer", "token": token}, "channel": "theirs"}
        address = f"{url.replace('http', 'ws')}/ws/publish"
        reading = StreamReading("websocket", address, **given)
        async with reading.opened() as source:
            # The first frame has a cursor: from here on nothing is missed.
            await reading.settled(source, lambda: bool(reading.checkpoint))
        await push(1, 2)
        async with reading.opened() as source:
            assert await reading.until(source, 2) == [{"n": 1}, {"n": 2}]
            before = dict(reading.checkpoint)
            await push(3)
            await reading.until(source, 3)
        reading.checkpoint = before  # as after a crash before the commit
        reading.events.pop()
        async with reading.opened() as source:
            await push(4)
            assert [data["n"] for data in await reading.until(source, 4)] == [1, 2, 3, 4]
        assert {event["channel"] for event in reading.events} == {"theirs"}
        assert {event["source"] for event in reading.events} == {"/sources/entity"}
        assert (reading.losses, reading.rejects) == ([], [])
        foreign = json.loads(reading.checkpoint[""]) | {"cursor": "no cursor of theirs"}
        reading.checkpoint = {"": json.dumps(foreign).encode()}
        async with reading.opened() as source:
            await reading.settled(source, lambda: bool(reading.losses))
    assert "cursor-malformed" in reading.losses[0]
