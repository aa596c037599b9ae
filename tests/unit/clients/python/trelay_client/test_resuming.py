import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from tests.unit.clients.python.trelay_client.fake_server import CREDENTIALS, FakeServer, connected, event, session
from trelay_client import CursorFile, UsageError, resume


async def test_a_cursor_is_stored_once_its_event_was_processed(tmp_path: Path) -> None:
    store = CursorFile(tmp_path / "cursor")
    handlers = (session(connected(), event(1), event(2), stay=True), session(connected(), event(2), stay=True))
    async with FakeServer(*handlers).up() as server:
        for stored in (None, "after-1"):
            assert await asyncio.to_thread(store.load) == stored
            async with asyncio.timeout(60), aclosing(resume(server.url, CREDENTIALS, store, ["a"])) as frames:
                async for frame in frames:
                    if frame.event["id"] == "2":
                        break
        assert [request.get("cursor") for request in server.requests] == [None, "after-1"]


async def test_two_subscriptions_do_not_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "cursor"
    handlers = (session(connected(), event(1), stay=True), session(connected(), event(2), stay=True))
    async with FakeServer(*handlers).up() as server, asyncio.timeout(60):
        async with aclosing(resume(server.url, CREDENTIALS, CursorFile(path))) as frames:
            await anext(frames)
            with pytest.raises(UsageError, match="uses this file"):
                await anext(resume(server.url, CREDENTIALS, CursorFile(path)))
        async with aclosing(resume(server.url, CREDENTIALS, CursorFile(path))) as frames:
            await anext(frames)
        assert len(server.requests) == 2, "the refused one has not connected"
