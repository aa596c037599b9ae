import asyncio
import threading
from pathlib import Path

import pytest

from tests.unit.clients.python.trelay_client.fake_server import (
    CREDENTIALS,
    FakeServer,
    connected,
    event,
    ids,
    session,
)
from trelay_client import CursorFile, Frame, Stopped, Token, UsageError, events


def taken(url: str, count: int, **options: object) -> list[Frame]:
    found = []
    for frame in events(url, CREDENTIALS, ["a"], **options):  # type: ignore[arg-type]
        if not frame.own:
            found.append(frame)
        if len(found) == count:
            break
    return found


async def test_events_arrive_in_a_program_without_asyncio(tmp_path: Path) -> None:
    store = CursorFile(tmp_path / "cursor")
    many = [event(number) for number in range(1, 301)]
    async with FakeServer(session(connected(), *many, stay=True), session(event(300), stay=True)).up() as server:
        found = await asyncio.to_thread(taken, server.url, 300, store=store)
        assert ids(found) == [str(number) for number in range(1, 301)]
        assert await asyncio.to_thread(store.load) == "after-299"
        assert ids(await asyncio.to_thread(taken, server.url, 1, store=store)) == ["300"]
        assert server.requests[1]["cursor"] == "after-299"
    assert not [thread for thread in threading.enumerate() if thread.name == "trelay subscription"]


async def test_a_store_without_a_cursor_begins_at_the_given_one(tmp_path: Path) -> None:
    store = CursorFile(tmp_path / "cursor")
    sessions = [session(connected(), event(number), event(number + 1), stay=True) for number in (1, 2)]
    async with FakeServer(*sessions).up() as server:
        for _ in sessions:
            await asyncio.to_thread(taken, server.url, 2, store=store, cursor="given")
        assert [request["cursor"] for request in server.requests] == ["given", "after-1"]


async def test_what_ends_the_subscription_is_raised() -> None:
    async with FakeServer(session(event(1), close=(4504, "client disabled"))).up() as server:

        def follow() -> list[Frame]:
            return list(events(server.url, Token("given")))

        with pytest.raises(Stopped, match="client disabled"):
            await asyncio.to_thread(follow)


async def test_two_subscriptions_do_not_share_a_file(tmp_path: Path) -> None:
    holder = CursorFile(tmp_path / "cursor")
    await asyncio.to_thread(holder.acquire)
    async with FakeServer().up() as server:
        with pytest.raises(UsageError, match="uses this file"):
            await asyncio.to_thread(taken, server.url, 1, store=CursorFile(tmp_path / "cursor"))
        assert server.registrations == []
    holder.release()
