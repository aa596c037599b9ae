"""Sends to a relay that answers, or breaks the connection, as a test says."""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from tests.unit.clients.python.trelay_client.fake_server import (
    CREDENTIALS,
    FakeServer,
    Handler,
    connected,
    event,
    ids,
    refusal,
    session,
)
from trelay_client import (
    BlockingSender,
    Frame,
    MessageRejected,
    MessageUnanswered,
    Receipt,
    Sender,
    Stopped,
    UsageError,
    events,
    subscribe,
)

LIMIT = 60


class Relay:
    """Stores what is sent, once for each id."""

    def __init__(self) -> None:
        self.stored: dict[str, Any] = {}
        self.received: list[str] = []

    def handler(self, *before: dict[str, Any], answers: int = 1_000_000, ahead: int = 0) -> Handler:
        """Return a connection that sends `before`, and breaks instead of one more answer than `answers`.

        `ahead` events precede each answer.
        """

        async def handle(request: web.Request) -> web.StreamResponse:
            socket = web.WebSocketResponse(protocols=["cloudevents.json"])
            await socket.prepare(request)
            for frame in [connected(largest_message=1000), *before]:
                await socket.send_json(frame)
            number = 0
            async for message in socket:
                assert message.type is WSMsgType.TEXT
                number += 1
                sent = json.loads(message.data)
                self.received.append(sent["id"])
                self.stored.setdefault(sent["id"], sent.get("data"))
                if number > answers:
                    assert request.transport is not None
                    request.transport.abort()
                    break
                for each in range(ahead):
                    await socket.send_json(event(number * ahead + each))
                await socket.send_json(answer(number, sent))
            return socket

        return handle


def answer(number: int, sent: dict[str, Any]) -> dict[str, Any]:
    data = {"message": number, "id": sent["id"]}
    if sent.get("data") == "bad":
        found = {"type": "trelay.rejected", "data": {**data, "code": "malformed", "detail": "why"}}
    else:
        found = {"type": "trelay.accepted", "data": {**data, "event": f"event-{sent['id']}"}}
    return {"source": "/trelay", "id": f"{number}", **found}


def frames(server: FakeServer, sender: Sender) -> aclosing[AsyncGenerator[Frame, None]]:
    return aclosing(subscribe(server.url, CREDENTIALS, sender=sender, clock=server.clock))


async def test_a_message_is_sent_amid_the_events_and_returns_when_it_is_stored() -> None:
    relay, sender = Relay(), Sender()
    seen: list[Frame] = []
    async with (
        FakeServer(relay.handler(event(1), event(2))).up() as server,
        asyncio.timeout(LIMIT),
        frames(server, sender) as found,
    ):
        async for frame in found:
            if not frame.own:
                receipt = await sender.send({"seen": frame.event["id"]}, f"m-{frame.event['id']}")
                assert receipt == Receipt(f"m-{frame.event['id']}", f"event-m-{frame.event['id']}")
                with pytest.raises(MessageRejected, match="why"):
                    await sender.send("bad")
                seen.append(frame)
            if len(seen) == 2:
                break
    assert relay.stored["m-1"] == {"seen": "1"}
    assert ids(seen) == ["1", "2"]


async def test_answers_behind_many_events_arrive_while_the_program_sends() -> None:
    relay, sender = Relay(), Sender()
    async with (
        FakeServer(relay.handler(event(0), ahead=500)).up() as server,
        asyncio.timeout(LIMIT),
        frames(server, sender) as found,
    ):
        numbers = []
        async for frame in found:
            if frame.own:
                continue
            numbers.append(int(frame.event["id"]))
            if len(numbers) == 1:
                await sender.send("first")
            if len(numbers) == 501:
                break
    assert numbers == [0, *range(500, 1000)]


async def test_what_a_broken_connection_did_not_answer_is_sent_again_and_stored_once() -> None:
    relay, sender = Relay(), Sender()
    async with (
        FakeServer(
            relay.handler(event(1), answers=1), refusal(503), relay.handler(answers=0), relay.handler()
        ).up() as server,
        asyncio.timeout(LIMIT),
        frames(server, sender) as found,
    ):
        await anext(found)  # connected
        receipts = await asyncio.gather(*[sender.send(number, f"m-{number}") for number in range(3)])
    assert [receipt.message_id for receipt in receipts] == ["m-0", "m-1", "m-2"]
    assert list(relay.stored) == ["m-0", "m-1", "m-2"]
    assert relay.received.count("m-1") == 3, "sent again by each connection"


async def test_a_message_waits_for_the_connection_and_for_an_answer() -> None:
    sender = Sender()
    with pytest.raises(MessageUnanswered, match=r"no answer within 0\.01 s"):
        await sender.send("early", timeout=0.01)
    async with FakeServer(session(connected(largest_message=1000), event(1), stay=True)).up() as server:
        async with asyncio.timeout(LIMIT), frames(server, sender) as found:
            await anext(found)
            task = asyncio.create_task(sender.send("a", "a"))
            while not sender.messages.waiting:
                await asyncio.sleep(0)
        with pytest.raises(MessageUnanswered, match="the subscription has ended"):
            await task
    assert not sender.messages.waiting


async def test_a_cancelled_send_is_not_sent_again() -> None:
    relay, sender = Relay(), Sender()
    task = asyncio.create_task(sender.send("a", "a"))
    while not sender.messages.waiting:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with (
        FakeServer(relay.handler()).up() as server,
        asyncio.timeout(LIMIT),
        frames(server, sender) as found,
    ):
        await anext(found)
        await sender.send("b", "b")
    assert relay.received == ["b"]


async def test_the_end_of_the_subscription_ends_what_waits() -> None:
    sender = Sender()
    handler = session(connected(largest_message=1000), event(1), close=(4504, "client disabled"))
    async with FakeServer(handler).up() as server, asyncio.timeout(LIMIT), frames(server, sender) as found:
        await anext(found)
        with pytest.raises(MessageUnanswered, match="client disabled"):
            await sender.send("a", "a")  # whether the connection is still open or not
        assert ids([await anext(found)]) == ["1"], "what arrived before is not lost"
        with pytest.raises(Stopped, match="client disabled"):
            await anext(found)


async def test_a_client_without_the_permission_is_told_so_and_stays_connected() -> None:
    sender = Sender()
    async with (
        FakeServer(session(connected(), event(1), stay=True)).up() as server,
        asyncio.timeout(LIMIT),
        frames(server, sender) as found,
    ):
        await anext(found)
        with pytest.raises(MessageRejected, match="may not send"):
            await sender.send("a")
        assert ids([await anext(found)]) == ["1"]


async def test_two_subscriptions_with_one_sender_are_refused() -> None:
    sender = Sender()
    async with FakeServer(session(connected(), stay=True), session(connected(), stay=True)).up() as server:
        async with asyncio.timeout(LIMIT), frames(server, sender) as found:
            await anext(found)
            async with frames(server, sender) as second:
                with pytest.raises(UsageError, match="another subscription"):
                    await anext(second)
        async with asyncio.timeout(LIMIT), frames(server, sender) as again:
            assert (await anext(again)).own


async def test_a_program_without_asyncio_sends_from_its_loop_and_from_other_threads() -> None:
    relay, sender = Relay(), BlockingSender()

    def program(url: str) -> list[Receipt]:
        receipts: list[Receipt] = []
        other = threading.Thread(target=lambda: receipts.append(sender.send("other", "m-other")))
        other.start()
        for frame in events(url, CREDENTIALS, sender=sender):
            if not frame.own:
                receipts.append(sender.send(frame.event["id"], f"m-{frame.event['id']}"))
            if len(receipts) >= 2 and not other.is_alive():
                break
        other.join()
        return receipts

    async with FakeServer(
        relay.handler(event(1), event(2), ahead=200, answers=2), relay.handler(event(3))
    ).up() as server:
        receipts = await asyncio.wait_for(asyncio.to_thread(program, server.url), LIMIT)
    assert {"m-other", "m-1"} <= {receipt.message_id for receipt in receipts}
    with pytest.raises(MessageUnanswered, match="no answer"):
        await asyncio.to_thread(sender.send, "late", timeout=0.01)
