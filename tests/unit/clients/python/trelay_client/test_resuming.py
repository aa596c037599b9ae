import asyncio
from contextlib import aclosing, closing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.unit.clients.python.trelay_client.fake_server import CREDENTIALS, FakeServer, connected, event, session
from trelay_client import CursorFile, UsageError, events, resume


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


HEARTBEATS = [
    {"source": "/trelay", "type": "trelay.heartbeat", "id": "h"},
    {"source": "/trelay", "type": "trelay.heartbeat", "id": "h", "cursor": "behind-others"},
]


@pytest.mark.parametrize("shown", [False, True])
@pytest.mark.parametrize("blocking", [False, True])
async def test_the_cursor_of_a_heartbeat_is_stored_behind_the_events_before_it(
    tmp_path: Path, *, blocking: bool, shown: bool
) -> None:
    store = CursorFile(tmp_path / "cursor")
    expected = ["c", "1", *["h"][:shown], "2"]
    options: dict[str, Any] = {"heartbeats": True} if shown else {}
    async with FakeServer(session(connected(), event(1), *HEARTBEATS, event(2), stay=True)).up() as server:
        found: list[tuple[str, str | None]] = []

        def take() -> None:
            with closing(events(server.url, CREDENTIALS, store=store, **options)) as frames:
                found.extend((frame.event["id"], store.load()) for frame in islice(frames, len(expected)))

        if blocking:
            await asyncio.to_thread(take)
        else:
            async with asyncio.timeout(60), aclosing(resume(server.url, CREDENTIALS, store, **options)) as frames:
                while len(found) < len(expected):
                    frame = await anext(frames)
                    found.append((frame.event["id"], await asyncio.to_thread(store.load)))
        assert [name for name, _ in found] == expected
        assert dict(found)["1"] == "start", "the one before it"
        assert dict(found)["2"] == "behind-others"
        assert server.requests[0]["heartbeat"] == "event"


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
