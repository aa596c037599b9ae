import asyncio
import json
import random
import re
import socket
import ssl
from contextlib import suppress

import pytest
import trustme
from aiohttp import WSCloseCode, web

from tests.unit.clients.python.trelay_client.stage import (
    ACCOUNT,
    Scene,
    Stage,
    connected,
    event,
    ids,
    problem,
    refusal,
    scene,
)
from trelay_client import Stopped, Token, UsageError, subscribe
from trelay_client.stream import _said, base_url


async def test_registers_connects_and_yields() -> None:
    async with Stage(scene(connected(), event(1), event(2), stay=True)).up() as stage:
        assert ids(await stage.take(2, channels=["orders.eu", "stock"])) == ["1", "2"]
        assert stage.registrations == [("demo", "hunter2")]
        assert stage.requests == [{"authorization": "Bearer token-1", "channels": "orders.eu,stock"}]


async def test_resumes_after_a_loss_and_gives_nothing_twice() -> None:
    async with Stage(
        scene(connected(), event(1), event(2)),
        scene(connected(), event(2), event(3), close=(4000, "draining; wait=2.0")),
        scene(connected(), event(4), stay=True),
    ).up() as stage:
        assert ids(await stage.take(4)) == ["1", "2", "3", "4"]
        assert [request.get("cursor") for request in stage.requests] == [None, "after-2", "after-3"]
        assert len(stage.registrations) == 1
        assert "lost" in stage.notes[0]
        assert stage.notes[1].startswith("draining; wait=2.0 (4000); next try in ")
        assert 2.0 <= stage.clock.pauses[1] <= 3.0


async def test_begins_where_it_is_told() -> None:
    async with Stage(scene(connected(), event(1), stay=True)).up() as stage:
        await stage.take(1, Token("given"), cursor="saved")
        assert stage.requests == [{"authorization": "Bearer given", "cursor": "saved"}]
        assert stage.registrations == []


async def test_registers_again_when_the_token_is_refused() -> None:
    async with Stage(
        scene(event(1), close=(4506, "token expired")),
        refusal(401),
        scene(event(2), stay=True),
    ).up() as stage:
        assert ids(await stage.take(2)) == ["1", "2"]
        assert [request["authorization"] for request in stage.requests] == [f"Bearer token-{n}" for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (scene(connected(), close=(4500, "consumers may not send")), r"for good: consumers may not send \(4500\)"),
        (refusal(403), r"refuses: because of 403 \(403\)"),
        (refusal(404), r"refuses: because of 404 \(404\)"),
    ],
)
async def test_stops_when_told_to(ending: Scene, said: str) -> None:
    async with Stage(ending).up() as stage:
        with pytest.raises(Stopped, match=said):
            await stage.take(1)


async def test_stops_at_what_is_no_websocket() -> None:
    async def page(_request: web.Request) -> web.StreamResponse:
        return web.Response(text="hello")

    async with Stage(page).up() as stage:
        with pytest.raises(Stopped, match=r"no WebSocket is spoken there \(200\)"):
            await stage.take(1)


async def test_waits_as_long_as_it_is_asked_to_when_refused_for_now() -> None:
    async with Stage(refusal(409, **{"Retry-After": "7"}), scene(event(1), stay=True)).up() as stage:
        await stage.take(1)
        assert 7.0 <= stage.clock.pauses[0] <= 10.5
        assert stage.notes[0].startswith("because of 409 (409); next try in ")


async def test_registration_is_tried_again_and_wrong_credentials_are_not() -> None:
    async with Stage(scene(event(1), stay=True)).up() as stage:
        stage.register_with = [problem(503), web.json_response({"no": "token"})]
        await stage.take(1)
        assert len(stage.registrations) == 3
    async with Stage().up() as stage:
        stage.register_with = [problem(401)]
        with pytest.raises(Stopped, match="because of 401"):
            await stage.take(1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_the_secret_goes_nowhere_else(status: int) -> None:
    async with Stage().up() as elsewhere, Stage().up() as stage:
        moved = f"{elsewhere.url}/consumers"
        stage.register_with = [web.Response(status=status, headers={"Location": moved})]
        with pytest.raises(Stopped, match=rf"moved to {moved} \({status}\)"):
            await stage.take(1)
        assert elsewhere.registrations == []


async def test_the_last_connection_is_closed_when_the_stream_is_left() -> None:
    left = asyncio.Event()

    async def told(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(json.dumps(event(1)))
        await socket.receive()
        if socket.close_code == WSCloseCode.OK:
            left.set()
        return socket

    async with Stage(told).up() as stage:
        assert ids(await stage.take(1)) == ["1"]
        async with asyncio.timeout(10):
            await left.wait()


async def test_a_server_that_is_away_is_waited_for() -> None:
    async with Stage().up() as stage:
        pass
    taking = asyncio.create_task(stage.take(1))
    while len(stage.clock.pauses) < 3:
        await asyncio.sleep(0.01)
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    assert stage.notes[0].startswith(f"cannot register at {stage.url}/: Connection refused; next try in ")


async def test_what_keeps_it_from_connecting_is_said_in_words() -> None:
    async with Stage().up() as stage:
        await _first_note(stage, stage.url.replace("http", "https"))
        assert re.search("TLS fails: (record layer failure|wrong version number); next try in ", stage.notes[0])
    assert _said(socket.gaierror(socket.EAI_NONAME, "Name or service not known")) == "Name or service not known"


async def test_a_certificate_that_is_not_trusted_is_said_to_be_that() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    runner = web.AppRunner(web.Application())
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        stage = Stage()
        await _first_note(stage, f"https://127.0.0.1:{runner.addresses[0][1]}")
        assert "its certificate is not trusted: unable to get local issuer certificate" in stage.notes[0]
    finally:
        await runner.cleanup()


async def _first_note(stage: Stage, url: str) -> None:
    noted = asyncio.Event()

    def note(text: str) -> None:
        stage.notes.append(text)
        noted.set()

    stream = subscribe(url, ACCOUNT, clock=stage.clock, rng=random.Random(1), note=note)
    task = asyncio.ensure_future(anext(stream))
    async with asyncio.timeout(20):
        await noted.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await stream.aclose()


async def test_silence_beyond_the_heartbeat_is_a_loss() -> None:
    async with Stage(
        scene(connected(heartbeat=0.2), event(1), stay=True), scene(connected(), event(2), stay=True)
    ).up() as stage:
        assert ids(await stage.take(2)) == ["1", "2"]
        assert stage.notes[0].startswith("nothing was heard for 0.5 s")


async def test_pings_are_heard_too() -> None:
    async def pinging(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(json.dumps(connected(heartbeat=0.8)))
        for _ in range(10):  # for longer than the 2 s of silence that it bears
            await asyncio.sleep(0.25)
            await socket.ping()
        await socket.send_str(json.dumps(event(1)))
        await socket.receive()
        return socket

    async with Stage(pinging).up() as stage:
        assert ids(await stage.take(1)) == ["1"]
        assert stage.notes == []


async def test_nonsense_from_the_server_is_a_loss() -> None:
    async with Stage(scene("no json"), scene(event(1), stay=True)).up() as stage:
        assert ids(await stage.take(1)) == ["1"]
        assert stage.notes[0].startswith("a frame that is no JSON")


async def test_a_server_that_goes_away_is_come_back_to() -> None:
    async with Stage(scene(event(1), close=(WSCloseCode.GOING_AWAY, "")), scene(event(2), stay=True)).up() as stage:
        assert ids(await stage.take(2)) == ["1", "2"]


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
        ("wss://trelay.example.com/ws/publish", "https://trelay.example.com/"),
        ("https://example.com/relay/", "https://example.com/relay"),
        ("ws://[::1]:1/relay/ws/publish?channels=a#x", "http://[::1]:1/relay"),
    ],
)
def test_reads_addresses(url: str, base: str) -> None:
    assert str(base_url(url)) == base


@pytest.mark.parametrize("url", ["", "trelay.example.com", "ftp://x", "http://", "http://[::1", "http://x:99999"])
def test_refuses_what_is_no_address(url: str) -> None:
    with pytest.raises(UsageError):
        base_url(url)


def test_secrets_are_not_shown() -> None:
    assert "hunter2" not in repr([ACCOUNT, Token("hunter2")])
