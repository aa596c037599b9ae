"""Changes channels of a relay that answers, refuses or breaks off as a test says."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import pytest
from aiohttp import web

from tests.unit.clients.python.trelay_client.fake_server import CREDENTIALS, FakeServer, connected, event, ids, session
from trelay_client import ChangeRefused, ChangeUnanswered, Channels, Frame, UsageError, subscribe

LIMIT = 60
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
ID = {"connection": "id", "heartbeat": 25}


def frames(server: FakeServer, channels: Channels, **options: Any) -> aclosing[AsyncGenerator[Frame, None]]:
    return aclosing(subscribe(server.url, CREDENTIALS, channels, clock=server.clock, **options))


def away_on(connection: str) -> Answer:
    """Answer that nothing can be changed on a connection."""

    async def answer(request: web.Request) -> web.StreamResponse:
        away = (await request.json())["connection"] == connection
        return web.Response(status=503) if away else web.json_response({})

    return answer


def refused(status: int, code: str) -> web.Response:
    body = {"code": code, "detail": f"because of {code}"}
    return web.json_response(body, status=status, content_type="application/problem+json")


async def test_a_change_amid_the_events_returns_when_it_is_made() -> None:
    channels = Channels(["a"], {"a": "x > 1"})
    async with (
        FakeServer(session(connected(**ID), event(1), event(2), stay=True)).up() as server,
        asyncio.timeout(LIMIT),
        frames(server, channels) as found,
    ):
        assert (await anext(found)).own
        assert ids([await anext(found)]) == ["1"]
        await channels.subscribe("b", "c", filters={"b": "y"})
        await channels.unsubscribe("a")
        assert ids([await anext(found)]) == ["2"]
        assert (server.requests[0]["channels"], server.requests[0]["filters"]) == ("a", '{"a": "x > 1"}')
        assert server.changes == [
            {"connection": "id", "subscribe": ["b", "c"], "filters": {"b": "y"}},
            {"connection": "id", "unsubscribe": ["a"]},
        ]
        assert server.authorizations == ["Bearer token-1", "Bearer token-1"]
    assert channels.names == ("b", "c")


@pytest.mark.parametrize("status", [401, 408, 409, 425, 429, 500, 503])
async def test_it_asks_again_while_the_connection_lives(status: int) -> None:
    channels = Channels(["a"])
    async with (
        FakeServer(session(connected(**ID), event(1), stay=True)).up() as server,
        asyncio.timeout(LIMIT),
        frames(server, channels) as found,
    ):
        await anext(found)
        server.change_with = [
            web.Response(status=status, headers={"Retry-After": "7"}),
            refused(404, "not-connected"),
            web.Response(status=502, text="<html>"),
        ]
        await channels.subscribe("b")
        assert server.clock.pauses == [7.0, 1.0, 2.0]
        assert len(server.changes) == 4


async def test_a_refusal_is_told_with_its_code_and_the_connection_stays() -> None:
    channels = Channels(["a"])
    async with (
        FakeServer(session(connected(**ID), event(1), stay=True)).up() as server,
        asyncio.timeout(LIMIT),
        frames(server, channels) as found,
    ):
        await anext(found)
        for answer, code in (
            (refused(403, "channel-not-permitted"), "channel-not-permitted"),
            (web.Response(status=404, text="no such path"), "404"),
        ):
            server.change_with = [answer]
            with pytest.raises(ChangeRefused) as raised:
                await channels.subscribe("b")
            assert raised.value.code == code
        assert ids([await anext(found)]) == ["1"]
        assert channels.names == ("a",)


async def test_what_a_lost_connection_did_not_answer_is_asked_for_on_the_next_one() -> None:
    channels, asked = Channels(["a"]), asyncio.Event()

    async def first(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json(connected(**ID))
        await asked.wait()
        assert request.transport is not None
        request.transport.abort()
        return socket

    async with (
        FakeServer(first, session(connected(connection="second"), event(1), stay=True)).up() as server,
        asyncio.timeout(LIMIT),
        frames(server, channels) as found,
    ):
        server.on_change = asked.set
        server.change_by = away_on("id")
        assert (await anext(found)).own
        await channels.subscribe("b")
        assert [change["connection"] for change in server.changes][-1] == "second"
        assert server.requests[1]["channels"] == "a"


async def test_a_stream_that_tells_of_the_change_is_an_answer() -> None:
    """The answer itself is lost: what follows is of the new channels."""
    channels, asked = Channels(["a"]), asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json(connected(**ID))
        await asked.wait()
        data = {"channels": ["a", "b"], "reason": "requested"}
        await socket.send_json({"source": "/trelay", "type": "trelay.subscribed", "id": "s", "data": data})
        await socket.receive()
        return socket

    async def pending(_request: web.Request) -> web.StreamResponse:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with (
        FakeServer(handler).up() as server,
        asyncio.timeout(LIMIT),
        frames(server, channels) as found,
    ):
        server.change_by = pending
        assert (await anext(found)).own
        await channels.subscribe("b")
        assert channels.names == ("a", "b")
        assert (await anext(found)).event["type"] == "trelay.subscribed"


async def test_the_end_of_the_subscription_is_told() -> None:
    channels = Channels(["a"])
    async with FakeServer(session(connected(**ID), close=(4504, "client disabled"))).up() as server:
        server.change_by = away_on("id")
        async with asyncio.timeout(LIMIT), frames(server, channels) as found:
            await anext(found)
            with pytest.raises(ChangeUnanswered, match="client disabled"):
                await channels.subscribe("b")


async def test_filters_beside_channels_and_two_subscriptions_are_refused() -> None:
    channels = Channels(["a"])
    async with FakeServer(session(connected(**ID), event(1), stay=True)).up() as server, asyncio.timeout(LIMIT):
        async with frames(server, channels, filters={"a": "x"}) as wrong:
            with pytest.raises(UsageError, match="filters"):
                await anext(wrong)
        async with frames(server, channels) as found:
            await anext(found)
            async with frames(server, channels) as second:
                with pytest.raises(UsageError, match="belongs to another"):
                    await anext(second)
            assert ids([await anext(found)]) == ["1"]


async def test_a_change_is_made_although_its_program_does_not_wait() -> None:
    channels = Channels(["a"])
    waiting = asyncio.ensure_future(channels.subscribe("b"))
    await asyncio.sleep(0)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    async with (
        FakeServer(session(connected(**ID), event(1), stay=True)).up() as server,
        asyncio.timeout(LIMIT),
        frames(server, channels) as found,
    ):
        await anext(found)
        await channels.subscribe("c")
        assert channels.names == ("a", "b", "c")
        assert json.loads(json.dumps(server.changes[0])) == {"connection": "id", "subscribe": ["b"]}
