"""The channels of a program without asyncio."""

import asyncio
import threading

import pytest

from tests.unit.clients.python.trelay_client.fake_server import CREDENTIALS, FakeServer, connected, event, session
from trelay_client import BlockingChannels, ChangeUnanswered, events

LIMIT = 60


async def test_its_loop_and_other_threads_change_them() -> None:
    def program(url: str) -> tuple[str, ...]:
        channels = BlockingChannels(["a"])
        other = threading.Thread(target=lambda: channels.subscribe("b", timeout=LIMIT))
        other.start()
        for frame in events(url, CREDENTIALS, channels):
            if not frame.own:
                other.join()
                channels.subscribe("c", filters={"c": "x"})
                channels.unsubscribe("a")
                break
        return channels.names

    handler = session(connected(connection="id"), event(1), stay=True)
    async with FakeServer(handler).up() as server, asyncio.timeout(LIMIT):
        assert await asyncio.to_thread(program, server.url) == ("b", "c")
        assert len(server.changes) == 3


async def test_a_change_waits_for_the_subscription() -> None:
    channels = BlockingChannels(["a"])
    with pytest.raises(ChangeUnanswered, match=r"no answer within 0\.01 s; it is made later"):
        await asyncio.to_thread(channels.subscribe, "b", timeout=0.01)
    assert channels.changes.waiting
