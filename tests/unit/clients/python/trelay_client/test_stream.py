import asyncio
import json
import random
import re
from contextlib import aclosing

import pytest
from aiohttp import WSCloseCode, web

from tests.unit.clients.python.trelay_client.fake_server import (
    CREDENTIALS,
    FakeServer,
    Handler,
    connected,
    event,
    ids,
    problem,
    refusal,
    session,
)
from trelay_client import ClientCredentials, Stopped, Token, UnreadableFrame, UsageError, subscribe
from trelay_client.stream import base_url


async def test_registers_connects_and_yields() -> None:
    async with FakeServer(session(connected(), event(1), event(2), stay=True)).up() as server:
        assert ids(await server.take(2, channels=["orders.eu", "stock"])) == ["1", "2"]
        assert server.registrations == [("demo", "hunter2")]
        assert server.requests == [
            {"authorization": "Bearer token-1", "channels": "orders.eu,stock", "heartbeat": "event"}
        ]


async def test_resumes_after_a_loss_and_repeats_nothing() -> None:
    async with FakeServer(
        session(connected(), event(1), event(2)),
        session(connected(), event(2), event(3), close=(4000, "draining; wait=2.0")),
        session(connected(), event(4), stay=True),
    ).up() as server:
        assert ids(await server.take(4)) == ["1", "2", "3", "4"]
        assert [request.get("cursor") for request in server.requests] == [None, "after-2", "after-3"]
        assert len(server.registrations) == 1
        assert "lost" in server.retries[0]
        assert server.retries[1].startswith("draining; wait=2.0 (4000); retrying in ")
        assert 2.0 <= server.clock.pauses[1] <= 3.0


async def test_starts_at_a_given_cursor() -> None:
    async with FakeServer(session(connected(), event(1), stay=True)).up() as server:
        await server.take(1, Token("given"), cursor="saved")
        assert server.requests == [{"authorization": "Bearer given", "heartbeat": "event", "cursor": "saved"}]
        assert server.registrations == []


async def test_begins_in_the_history_until_there_is_a_cursor() -> None:
    async with FakeServer(session(connected(), event(1)), session(event(2), stay=True)).up() as server:
        await server.take(2, since="earliest", snapshot=True, conflate="500ms", watermarks=10)
        begins = [(request.get("since"), request.get("cursor")) for request in server.requests]
        assert {request.get("watermarks") for request in server.requests} == {"10"}
        assert {request.get("snapshot") for request in server.requests} == {"true"}, "a cursor comes before it"
        assert {request.get("conflate") for request in server.requests} == {"500ms"}, "also when it reconnects"
        assert begins == [("earliest", None), (None, "after-1")]


async def test_filters_are_named_again_when_it_reconnects() -> None:
    filters = {"orders.*": "total > 100", "prices": "$event.subject = 'EURUSD'"}
    async with FakeServer(session(connected(), event(1)), session(event(2), stay=True)).up() as server:
        await server.take(2, channels=["orders.*", "prices"], filters=filters)
        assert [json.loads(request["filters"]) for request in server.requests] == [filters, filters]


@pytest.mark.parametrize("credentials", [ClientCredentials("demo", "hunter2\n"), Token("hunter2\n")])
async def test_credentials_that_cannot_be_sent_end_it_at_once(credentials: ClientCredentials | Token) -> None:
    async with FakeServer().up() as server:
        with pytest.raises(UsageError, match="control character"):
            await server.take(1, credentials)
        assert (server.registrations, server.retries) == ([], [])


async def test_registers_again_when_the_token_is_refused() -> None:
    async with FakeServer(
        session(event(1), close=(4506, "token expired")),
        refusal(401),
        session(event(2), stay=True),
    ).up() as server:
        assert ids(await server.take(2)) == ["1", "2"]
        assert [request["authorization"] for request in server.requests] == [f"Bearer token-{n}" for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (
            session(connected(), close=(4500, "consumers may not send")),
            r"not reconnecting: consumers may not send \(4500\)",
        ),
        (refusal(403), r"refused by the server: because of 403 \(403\)"),
        (refusal(404), r"refused by the server: because of 404 \(404\)"),
    ],
)
async def test_stops_if_reconnecting_is_pointless(handler: Handler, text: str) -> None:
    async with FakeServer(handler).up() as server:
        with pytest.raises(Stopped, match=text):
            await server.take(1)


async def test_stops_at_another_kind_of_endpoint() -> None:
    async def page(_request: web.Request) -> web.StreamResponse:
        return web.Response(text="hello")

    async with FakeServer(page).up() as server:
        with pytest.raises(Stopped, match=r"not a WebSocket endpoint \(200\)"):
            await server.take(1)


async def test_waits_for_the_retry_after_of_a_refusal() -> None:
    async with FakeServer(refusal(409, **{"Retry-After": "7"}), session(event(1), stay=True)).up() as server:
        await server.take(1)
        assert 7.0 <= server.clock.pauses[0] <= 10.5
        assert server.retries[0].startswith("because of 409 (409); retrying in ")


async def test_registration_is_retried_except_with_wrong_credentials() -> None:
    async with FakeServer(session(event(1), stay=True)).up() as server:
        server.register_with = [problem(503), web.json_response({"no": "token"})]
        await server.take(1)
        assert len(server.registrations) == 3
    async with FakeServer().up() as server:
        server.register_with = [problem(401)]
        with pytest.raises(Stopped, match="because of 401"):
            await server.take(1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_the_secret_is_not_sent_to_a_redirect(status: int) -> None:
    async with FakeServer().up() as elsewhere, FakeServer().up() as server:
        moved = f"{elsewhere.url}/consumers"
        server.register_with = [web.Response(status=status, headers={"Location": moved})]
        with pytest.raises(Stopped, match=rf"moved to {moved} \({status}\)"):
            await server.take(1)
        assert elsewhere.registrations == []


async def test_the_connection_is_closed_with_the_stream() -> None:
    closed = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(json.dumps(event(1)))
        await socket.receive()
        if socket.close_code == WSCloseCode.OK:
            closed.set()
        return socket

    async with FakeServer(handle).up() as server:
        assert ids(await server.take(1)) == ["1"]
        async with asyncio.timeout(60):
            await closed.wait()


async def test_an_unavailable_server_is_retried() -> None:
    async with FakeServer().up() as server:
        pass
    taking = asyncio.create_task(server.take(1))
    while len(server.clock.pauses) < 3:
        await asyncio.sleep(0.01)
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    assert server.retries[0].startswith(f"cannot register at {server.url}/: Connection refused; retrying in ")


TOO_LARGE = '{"cursor":"after-bad","id":"bad","source":"/s","type":"t","data":1e400}'


async def test_a_program_that_asks_for_nothing_else_has_each_retry_in_its_log(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeServer(
        session(connected(), close=(4000, "draining; wait=2.0")), session(connected(), event(1), stay=True)
    ).up() as server:
        stream = subscribe(server.url, CREDENTIALS, clock=server.clock, rng=random.Random(1))
        async with asyncio.timeout(60), aclosing(stream) as frames:
            while (await anext(frames)).own:
                pass
    (line,) = [record for record in caplog.records if record.name == "trelay_client.stream"]
    assert line.levelname == "WARNING"
    assert re.fullmatch(r".*draining.*; retrying in \d+\.\d s", line.message)


async def test_an_unreadable_frame_is_reported_and_skipped(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeServer(session(event(1), TOO_LARGE, "no json", event(2), stay=True)).up() as server:
        assert ids(await server.take(2)) == ["1", "2"]
        assert server.retries == []
        unreadable = list[UnreadableFrame]()
    assert [record.message for record in caplog.records] == ["skipping unreadable frame"] * 2
    assert [record.__dict__["cursor"] for record in caplog.records] == ["after-bad", None]
    async with FakeServer(session(TOO_LARGE), session(event(2), stay=True)).up() as server:
        assert ids(await server.take(1, on_unreadable=unreadable.append)) == ["2"]
        assert server.requests[1]["cursor"] == "after-bad"
    assert [frame.text for frame in unreadable] == [TOO_LARGE]


async def test_the_caller_may_end_the_stream_at_an_unreadable_frame() -> None:
    class UnreadableError(Exception):
        pass

    def refuse(_frame: UnreadableFrame) -> None:
        raise UnreadableError

    async with FakeServer(session(TOO_LARGE, stay=True)).up() as server:
        with pytest.raises(UnreadableError):
            await server.take(1, on_unreadable=refuse)


async def test_a_server_that_goes_away_is_reconnected_to() -> None:
    async with FakeServer(
        session(event(1), close=(WSCloseCode.GOING_AWAY, "")), session(event(2), stay=True)
    ).up() as server:
        assert ids(await server.take(2)) == ["1", "2"]


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
        ("wss://trelay.example.com/ws/publish", "https://trelay.example.com/"),
        ("https://example.com/relay/", "https://example.com/relay"),
        ("ws://[::1]:1/relay/ws/publish?channels=a#x", "http://[::1]:1/relay"),
    ],
)
def test_parses_addresses(url: str, base: str) -> None:
    assert str(base_url(url)) == base


@pytest.mark.parametrize("url", ["", "trelay.example.com", "ftp://x", "http://", "http://[::1", "http://x:99999"])
def test_refuses_an_invalid_address(url: str) -> None:
    with pytest.raises(UsageError):
        base_url(url)


def test_secrets_are_not_shown() -> None:
    assert "hunter2" not in repr([CREDENTIALS, Token("hunter2")])
