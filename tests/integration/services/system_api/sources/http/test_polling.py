"""The kind `http` against a real server, from request to event, across restarts."""

import random
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

import pytest
from aiohttp import web

from services.system_api.sources.capabilities import Rewinding, Seeking
from services.system_api.sources.http.polling import reading
from shared.errors import Malformed
from shared.http.client.failures import UnusableResponse
from tests.integration.services.system_api.sources.http.http_poller import HttpPoller, SteppedClock, orders
from tests.servers.http_api import HttpApi, Listing


async def test_a_record_becomes_an_event(api: HttpApi) -> None:
    api.answer("/orders", {"items": [{"id": 7, "customer": "C-1", "at": "2026-01-01T01:00:00+01:00", "n": 12.50}]})
    poller = HttpPoller(api.url("/orders"), records="items", subject="customer", time="at", channel="orders")
    async with poller.opened():
        (event,) = await poller.drain()
    assert {name: event[name] for name in ("id", "source", "type", "subject", "time", "channel", "data")} == {
        "id": "orders:7@1",
        "source": "/sources/orders",
        "type": "order.updated",
        "subject": "C-1",
        "time": "2026-01-01T00:00:00Z",
        "channel": "orders",
        "data": {"id": 7, "customer": "C-1", "at": "2026-01-01T01:00:00+01:00", "n": 12.5},
    }


@pytest.mark.parametrize(
    "pagination",
    [
        {"kind": "page"},
        {"kind": "offset", "overlap": 1},
        {"kind": "offset", "overlap": 0},
        {"kind": "link"},
        {"kind": "page", "reread": False},
    ],
)
@pytest.mark.parametrize("limit", [1, 1000])
async def test_every_page_is_read_in_each_kind_of_pagination(api: HttpApi, pagination: Any, limit: int) -> None:
    listing = Listing(orders(8))
    api.answer("/orders", listing)
    poller = HttpPoller(api.url("/orders?x=1"), records="items", pagination=pagination)
    async with poller.opened():
        assert [each["id"] for each in await poller.data(limit)] == list(range(1, 9))
        assert await poller.data(limit) == []
        listing.records[4]["paid"] = True
        assert [each["id"] for each in await poller.data(limit)] == [5]
    async with poller.opened():  # after a restart
        assert await poller.data(limit) == []
        listing.records += orders(1, 9)
        assert [each["id"] for each in await poller.data(limit)] == [9]
    assert len(set(poller.ids)) == 10
    assert all("x=1" in path or pagination["kind"] == "link" for path in api.paths())


async def test_pages_by_cursor_and_by_url(api: HttpApi) -> None:
    api.answer("/a", {"items": [{"id": 1}], "next": "c/2"}, {"items": [{"id": 2}], "next": None})
    poller = HttpPoller(api.url("/a"), records="items", pagination={"kind": "cursor", "cursor": "next"})
    async with poller.opened():
        assert [each["id"] for each in await poller.data()] == [1, 2]
    api.answer("/b", {"items": [{"id": 1}], "links": {"next": "/c?p=2"}})
    api.answer("/c", {"items": [{"id": 2}], "links": {}})
    poller = HttpPoller(api.url("/b"), records="items", pagination={"kind": "next", "url": "links.next"})
    async with poller.opened():
        assert [each["id"] for each in await poller.data()] == [1, 2]
    assert api.paths() == ["/a", "/a?cursor=c/2", "/b", "/c?p=2"]


async def test_a_next_page_on_another_host_is_refused(api: HttpApi) -> None:
    api.answer("/a", {"items": [{"id": 1}], "next": api.url("/b", host="localhost")})
    auth = {"kind": "bearer", "token": "s3cret"}
    poller = HttpPoller(api.url("/a"), records="items", pagination={"kind": "next", "url": "next"}, auth=auth)
    async with poller.opened():
        with pytest.raises(UnusableResponse, match="the page is on another host than `url`"):
            await poller.drain()
    assert api.paths() == ["/a"]


async def test_an_unchanged_page_costs_no_reading(api: HttpApi, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = Listing(orders(8))
    listing.etags = True
    api.answer("/orders", listing)
    read: list[int] = []
    original = reading.PageReader.read

    async def counted(self: Any, body: bytes, content_type: str) -> Any:
        read.append(len(body))
        return await original(self, body, content_type)

    monkeypatch.setattr(reading.PageReader, "read", counted)
    poller = HttpPoller(api.url("/orders"), records="items", pagination={"kind": "page"})
    async with poller.opened():
        await poller.drain()
        assert len(read) == 4
        batch = await poller.poll()
        while batch.more:
            assert not batch
            batch = await poller.poll()
        assert len(read) == 4
        assert all("If-None-Match" in request.headers for request in api.requests[-7:])
        listing.records[0]["paid"] = True
        assert [each["id"] for each in await poller.data()] == [1]
        assert len(read) == 5
    async with poller.opened():  # nothing of this is saved: after a restart each page is read once
        assert await poller.data() == []
        assert len(read) == 9


class StaticFile:
    """A list in a file, as nginx serves it: its ETag is made of its size and of the second of its last change."""

    def __init__(self) -> None:
        self.body = b'[{"id": 1, "state": "a"}]'
        self.modified = self.now = 1_700_000_000

    async def __call__(self, request: web.Request) -> web.Response:
        etag, modified = f'"{self.modified:x}-{len(self.body):x}"', formatdate(self.modified, usegmt=True)
        headers = {"ETag": etag, "Last-Modified": modified, "Date": formatdate(self.now, usegmt=True)}
        if request.headers.get("If-None-Match") == etag or request.headers.get("If-Modified-Since") == modified:
            return web.Response(status=304, headers=headers)
        return web.Response(body=self.body, headers=headers, content_type="application/json")


async def test_two_changes_within_a_second_are_both_seen(api: HttpApi) -> None:
    """The second one leaves the time of the last change, and an ETag that is made of it, as they are."""
    file = StaticFile()
    api.answer("/orders.json", file)
    poller = HttpPoller(api.url("/orders.json"))
    async with poller.opened():
        assert [each["state"] for each in await poller.data()] == ["a"]
        file.body = b'[{"id": 1, "state": "b"}]'
        assert [each["state"] for each in await poller.data()] == ["b"]
        file.now += 1
        assert await poller.data() == []
        assert "If-None-Match" not in api.requests[-1].headers
        assert await poller.data() == []
        assert "If-None-Match" in api.requests[-1].headers, "from now on it is requested with a condition"


@pytest.mark.parametrize("etags", [False, True])
@pytest.mark.parametrize("reread", [False, True])
@pytest.mark.parametrize("full", [1, 2])
async def test_a_page_that_follows_an_unchanged_last_one_is_read(
    api: HttpApi, full: int, *, reread: bool, etags: bool
) -> None:
    """Neither a body nor an ETag of it changes when a page follows: only the header `Link` does."""
    listing, clock = Listing(orders(3 * full)), SteppedClock()
    listing.etags, listing.totals = etags, False
    api.answer("/orders", listing)
    pagination = {"kind": "link", "reread": reread}
    poller = HttpPoller(api.url("/orders"), records="items", pagination=pagination, clock=clock)
    async with poller.opened():
        assert len(await poller.data()) == 3 * full
        assert await poller.data() == []
        listing.records += orders(4, 3 * full + 1)
        if etags and full == 1:  # nothing has shown that the page was full
            assert await poller.data() == []
            clock.at += 61
        assert [each["id"] for each in await poller.data()] == [3 * full + number for number in range(1, 5)]
        if etags and full == 2:  # a page in the middle costs no body
            first = [request for request in api.requests if "page" not in request.query]
            assert all("If-None-Match" in request.headers for request in first[2 if reread else 1 :])


async def test_the_only_page_costs_no_response_while_it_is_unchanged(api: HttpApi) -> None:
    """It may be full: its body comes once a minute all the same."""
    listing, clock = Listing(orders(2)), SteppedClock()
    listing.etags = True
    api.answer("/orders", listing)
    poller = HttpPoller(api.url("/orders"), records="items", pagination={"kind": "link"}, clock=clock)
    async with poller.opened():
        assert len(await poller.data()) == 2
        for _ in range(5):
            assert await poller.data() == []
        assert all("If-None-Match" in request.headers for request in api.requests[1:])
        listing.records += orders(1, 3)
        assert [each["id"] for each in await poller.data()] == [3]
        listing.records += orders(1, 4)  # on another page: the body stays as it is
        assert await poller.data() == []
        clock.at += 61
        assert [each["id"] for each in await poller.data()] == [4]
        seen = len(api.requests)
        assert await poller.data() == []
        assert all("If-None-Match" in request.headers for request in api.requests[seen:])


async def test_an_equal_body_costs_no_reading_without_etags(api: HttpApi) -> None:
    api.answer("/orders", [{"id": 1}])
    poller = HttpPoller(api.url("/orders"))
    async with poller.opened():
        await poller.drain()
        for _ in range(3):
            batch = await poller.poll()
            assert not batch
            assert not batch.more


@pytest.mark.parametrize("changes", [{"kind": "snapshot"}, {"kind": "time", "overlap": 2}])
async def test_a_crash_at_any_batch_repeats_and_loses_nothing(api: HttpApi, changes: dict[str, Any], seed: int) -> None:
    rng, listing = random.Random(seed), Listing(orders(20), size=4)
    api.answer("/orders", listing)
    poller = HttpPoller(api.url("/orders"), records="items", time="at", pagination={"kind": "page"}, changes=changes)
    for number in range(25):
        async with poller.opened():
            for _ in range(rng.randrange(1, 12)):
                batch = await poller.source.poll(rng.randrange(1, 6))
                if rng.random() < 0.2:
                    break  # killed before the commit
                poller.commit(batch)
        if number % 5 == 0:
            listing.records.append({"id": 100 + number, "at": f"2026-01-01T00:00:{30 + number:02d}Z"})
    async with poller.opened():
        await poller.drain()
        await poller.drain()
    found = [event["data"]["id"] for event in poller.events]
    assert sorted(found) == sorted(each["id"] for each in listing.records)
    assert len(set(poller.ids)) == len(poller.ids)


async def test_every_record_is_accounted_for(api: HttpApi) -> None:
    listing = Listing([{"id": 1}, {"id": 2}, {"no": "id"}, {"id": 4}], size=2)
    api.answer("/orders", listing)
    changes = {"kind": "snapshot", "deleted_type": "order.deleted"}
    poller = HttpPoller(api.url("/orders"), records="items", pagination={"kind": "page"}, changes=changes)
    rows = events = rejects = skipped = 0
    async with poller.opened():
        for number in range(60):
            batch = await poller.poll(1)
            rows, skipped = rows + (batch.rows or 0), skipped + batch.skipped
            events, rejects = events + len(batch.records), rejects + len(batch.rejects)
            if number == 30:
                listing.records[:] = [{"id": 4}]
    assert rows == events + rejects + skipped
    assert (events, rejects) == (5, 1)
    assert skipped > 0


@pytest.mark.parametrize(
    ("changes", "place", "expected"),
    [
        ({"kind": "time", "start": "2026-01-01T00:00:03Z"}, "beginning", [1, 2, 3, 4]),
        ({"kind": "time"}, datetime(2026, 1, 1, 0, 0, 3, tzinfo=UTC), [3, 4]),
        ({"kind": "time"}, "end", []),
        ({"kind": "snapshot"}, "beginning", [1, 2, 3, 4]),
        ({"kind": "snapshot"}, "end", []),
        ({"kind": "cursor", "cursor": "items[-1].id", "parameter": "c", "start": "9"}, "beginning", [1, 2, 3, 4]),
        ({"kind": "cursor", "cursor": "items[-1].id", "parameter": "c"}, "end", []),
    ],
)
async def test_a_source_can_be_rewound(api: HttpApi, changes: Any, place: Any, expected: list[int]) -> None:
    api.answer("/orders", {"items": orders(4)})
    poller = HttpPoller(api.url("/orders"), records="items", time="at", changes=changes)
    async with poller.opened():
        await poller.drain()
    async with poller.opened():
        assert isinstance(poller.source, Rewinding)
        poller.checkpoint = dict(await poller.source.checkpoint_at(place))
    before = list(poller.ids)
    async with poller.opened():
        assert [each["id"] for each in await poller.data()] == expected
    again = poller.ids[len(before) :]
    if changes["kind"] == "snapshot":
        assert not set(again) & set(before)  # the versions of then are gone: these are new events
    else:
        assert set(before) <= set(again) or set(again) <= set(before)


@pytest.mark.parametrize("changes", [{"kind": "snapshot"}, {"kind": "cursor", "cursor": "x", "parameter": "c"}])
async def test_a_source_without_times_cannot_be_rewound_to_one(api: HttpApi, changes: Any) -> None:
    poller = HttpPoller(api.url("/orders"), records="items", changes=changes)
    async with poller.opened():
        assert isinstance(poller.source, Rewinding)
        with pytest.raises(Malformed, match="no times to rewind to"):
            await poller.source.checkpoint_at(datetime(2026, 1, 1, tzinfo=UTC))


async def test_the_end_of_a_list_is_sought_page_by_page(api: HttpApi) -> None:
    api.answer("/orders", Listing(orders(5), size=2))
    poller = HttpPoller(api.url("/orders"), records="items", pagination={"kind": "page", "reread": False})
    async with poller.opened():
        assert isinstance(poller.source, Seeking)
        found = [await poller.source.seek_end() for _ in range(4)]
    assert [each is not None for each in found] == [False, False, False, True]
    poller.checkpoint = dict(found[-1] or {})
    async with poller.opened():
        assert await poller.data() == []
