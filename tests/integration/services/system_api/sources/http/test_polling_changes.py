"""What counts as new, changed and deleted, across restarts."""

import json
from email.utils import formatdate
from typing import Any

import pytest
from aiohttp import web

from shared.errors import TrelayError
from shared.runtime.clock import rfc3339
from tests.integration.services.system_api.sources.http.http_poller import HttpPoller, SteppedClock, orders
from tests.servers.http_api import HttpApi, Listing


async def test_changes_by_time_read_the_overlap_again_and_repeat_nothing(api: HttpApi) -> None:
    listing = Listing(orders(5), size=100)
    api.answer("/orders", listing)
    changes = {"kind": "time", "parameter": "since", "overlap": 2}
    poller = HttpPoller(api.url("/orders"), records="items", time="at", changes=changes)
    async with poller.opened():
        assert len(await poller.data()) == 5
        listing.records.append({"id": 99, "at": "2026-01-01T00:00:04Z"})  # it appears late, within the overlap
        assert [each["id"] for each in await poller.data()] == [99]
        listing.records[0] |= {"at": "2026-01-01T00:00:30Z"}
        assert [each["id"] for each in await poller.data()] == [1]
    async with poller.opened():
        assert await poller.data() == []
    assert api.paths()[:2] == ["/orders", "/orders?since=2026-01-01T00:00:03Z"]
    assert api.paths()[-1] == "/orders?since=2026-01-01T00:00:28Z"


@pytest.mark.parametrize(
    ("form", "since"),
    [("unix", "1767225603"), ("unix_ms", "1767225603000"), ("date", "2026-01-01"), ("rfc3339", "2026-01-01T00:00:03Z")],
)
async def test_the_parameter_is_written_as_the_api_wants_it(api: HttpApi, form: str, since: str) -> None:
    api.answer("/orders", {"items": orders(5)})
    changes = {"kind": "time", "parameter": "since", "overlap": 2, "format": form}
    poller = HttpPoller(api.url("/orders"), records="items", time="at", changes=changes)
    async with poller.opened():
        assert len(await poller.data()) == 5
        assert await poller.data() == []
    assert api.requests[-1].query["since"] == since


async def test_a_source_can_start_now_or_at_a_time(api: HttpApi) -> None:
    api.answer("/orders", {"items": [*orders(2), {"id": 3, "at": "2027-01-15T07:59:59Z"}]})
    for start, expected in (("now", [3]), ("2026-01-01T00:00:02Z", [2, 3])):
        changes = {"kind": "time", "overlap": 2, "start": start}
        poller = HttpPoller(api.url("/orders"), records="items", time="at", changes=changes)
        async with poller.opened():
            assert [each["id"] for each in await poller.data()] == expected


@pytest.mark.parametrize("parameter", ["since", None])
@pytest.mark.parametrize("behind", [3600, -3600])
async def test_now_is_when_the_api_says_it_is(api: HttpApi, behind: int, parameter: str | None) -> None:
    clock = SteppedClock()
    records: list[dict[str, Any]] = [{"id": 1, "at": rfc3339(clock.at - behind - 30)}]

    async def respond(request: web.Request) -> web.Response:
        listed = [each for each in records if each["at"] >= request.query.get("since", "")]
        return web.json_response({"items": listed}, headers={"Date": formatdate(clock.at - behind, usegmt=True)})

    api.answers["/orders"] = respond
    changes = {"kind": "time", "parameter": parameter, "overlap": 10, "start": "now"}
    poller = HttpPoller(api.url("/orders"), clock, records="items", time="at", changes=changes)
    async with poller.opened():
        assert await poller.data() == []
        clock.at += 5
        records.append({"id": 2, "at": rfc3339(clock.at - behind)})
        assert [each["id"] for each in await poller.data()] == [2]
    async with poller.opened():
        assert await poller.data() == []


async def test_now_is_when_the_source_was_first_opened(api: HttpApi) -> None:
    api.answer("/orders", {"items": []}, {"items": [{"id": 1, "at": "2027-01-15T08:00:10Z"}]})
    clock = SteppedClock()
    changes = {"kind": "time", "overlap": 2, "start": "now"}
    poller = HttpPoller(api.url("/orders"), clock, records="items", time="at", changes=changes)
    async with poller.opened():
        assert await poller.data() == []
    clock.at += 3600
    async with poller.opened():
        assert [each["id"] for each in await poller.data()] == [1]


async def test_a_time_in_the_future_hides_nothing(api: HttpApi) -> None:
    listing = Listing([{"id": 1, "at": "2999-01-01T00:00:00Z"}], size=100)
    api.answer("/orders", listing)
    poller = HttpPoller(api.url("/orders"), records="items", time="at", changes={"kind": "time", "overlap": 5})
    async with poller.opened():
        await poller.drain()
        listing.records.append({"id": 2, "at": "2027-01-15T08:00:00Z"})
        assert [each["id"] for each in await poller.data()] == [2]
        assert await poller.data() == []


async def test_a_clock_that_is_set_back_loses_and_repeats_nothing(api: HttpApi) -> None:
    clock, listing = SteppedClock(), Listing([{"id": 1, "at": "2027-01-15T07:59:50Z"}], size=100)
    api.answer("/orders", listing)
    changes = {"kind": "time", "overlap": 5, "parameter": "since"}
    poller = HttpPoller(api.url("/orders"), clock, records="items", time="at", changes=changes)
    async with poller.opened():
        await poller.drain()
        clock.at -= 86_400
        listing.records.append({"id": 2, "at": "2027-01-15T07:59:55Z"})
        assert [each["id"] for each in await poller.data()] == [2]
        assert await poller.data() == []


async def test_a_stale_version_is_not_published_after_a_newer_one(api: HttpApi) -> None:
    new, old = ({"id": 1, "at": f"2026-01-01T00:00:0{second}Z"} for second in (5, 3))
    api.answer("/orders", [new], [old], [new])
    poller = HttpPoller(api.url("/orders"), time="at", changes={"kind": "time", "overlap": 60})
    async with poller.opened():
        assert await poller.data() == [new]
        assert await poller.data() == []
        assert await poller.data() == []


async def test_a_snapshot_finds_deletions_after_two_polls(api: HttpApi) -> None:
    listing = Listing([{"id": number, "name": f"C-{number}"} for number in range(5)])
    api.answer("/orders", listing)
    changes = {"kind": "snapshot", "deleted_type": "order.deleted"}
    poller = HttpPoller(
        api.url("/orders"), records="items", subject="name", pagination={"kind": "page"}, changes=changes
    )
    async with poller.opened():
        await poller.drain()
        del listing.records[1], listing.records[2]
        assert await poller.drain() == []
        deleted = await poller.drain(limit=1)
        assert [(each["type"], each["subject"], each["data"]) for each in deleted] == [
            ("order.deleted", "C-1", {"id": "1"}),
            ("order.deleted", "C-3", {"id": "3"}),
        ]
        listing.records.append({"id": 1, "name": "C-1"})
        (again,) = await poller.drain()
        assert again["type"] == "order.updated"
    assert len(set(poller.ids)) == len(poller.ids) == 8


async def test_a_record_that_returns_to_an_earlier_version_is_published(api: HttpApi) -> None:
    on, off = [{"id": 1, "on": True}], [{"id": 1, "on": False}]
    api.answer("/switch", on, off, on)
    poller = HttpPoller(api.url("/switch"))
    async with poller.opened():
        found = [each["on"] for _ in range(4) for each in await poller.data()]
    assert found == [True, False, True]
    assert len(set(poller.ids)) == 3


async def test_an_empty_list_deletes_nothing_and_is_a_problem(api: HttpApi) -> None:
    changes = {"kind": "snapshot", "deleted_type": "order.deleted"}
    api.answer("/orders", [{"id": 1}], [], [], [], [{"id": 1}])
    poller = HttpPoller(api.url("/orders"), changes=changes)
    async with poller.opened():
        await poller.drain()
        for _ in range(3):
            assert await poller.drain() == []
            (problem,) = poller.problems
            assert problem.startswith("the list is empty, and had 1 records before: nothing is deleted.")
            assert "changes.allow_empty" in problem
        assert await poller.drain() == []
        assert poller.problems == []


async def test_an_id_that_is_not_unique_is_reported(api: HttpApi) -> None:
    api.answer("/orders", [{"id": 1, "line": 1}, {"id": 1, "line": 2}])
    poller = HttpPoller(api.url("/orders"))
    async with poller.opened():
        assert await poller.data() == [{"id": 1, "line": 1}]
        assert await poller.data() == []
    (reject,) = poller.rejects
    assert "id: '1' occurs twice on one page" in reject.error


async def test_a_cursor_continues_where_the_last_poll_ended(api: HttpApi) -> None:
    log = [{"id": f"e{number}", "entity": f"C-{number % 2}"} for number in range(7)]

    async def changes(request: web.Request) -> web.Response:
        since = request.query.get("after")
        start = 0 if since is None else next(index for index, each in enumerate(log) if each["id"] == since)
        return web.json_response({"data": log[start : start + 3]})  # the record at the cursor is repeated

    api.answer("/changes", changes)
    poller = HttpPoller(
        api.url("/changes"),
        records="data",
        subject="entity",
        changes={"kind": "cursor", "cursor": "data[-1].id", "parameter": "after"},
    )
    async with poller.opened():
        assert [each["id"] for each in await poller.data()] == [each["id"] for each in log]
        log += [{"id": "e7", "entity": "C-1"}]
    async with poller.opened():
        assert [each["id"] for each in await poller.data(limit=1)] == ["e7"]
    assert [event["id"] for event in poller.events] == [f"orders:e{number}" for number in range(8)]
    assert json.loads(poller.checkpoint[""])["cursor"] == "e7"


async def test_a_delta_link_is_followed_across_restarts(api: HttpApi) -> None:
    api.answer("/delta", {"value": [{"id": "a"}], "next": api.url("/delta2")})
    api.answer("/delta2", {"value": [{"id": "b"}], "delta": api.url("/delta3?token=x")})
    api.answer(
        "/delta3", {"value": [], "delta": api.url("/delta3?token=x")}, {"value": [{"id": "c"}], "delta": "/delta4"}
    )
    api.answer("/delta4", {"value": [], "delta": "/delta4"})
    options: dict[str, Any] = {
        "records": "value",
        "pagination": {"kind": "next", "url": "next"},
        "changes": {"kind": "cursor", "cursor": "delta"},
    }
    poller = HttpPoller(api.url("/delta"), **options)
    async with poller.opened():
        assert [each["id"] for each in await poller.data()] == ["a", "b"]
    async with poller.opened():
        assert [each["id"] for each in await poller.data()] == ["c"]
    assert api.paths() == ["/delta", "/delta2", "/delta3?token=x", "/delta3?token=x", "/delta4"]


async def test_a_page_without_a_cursor_is_an_error(api: HttpApi) -> None:
    api.answer("/changes", {"data": [{"id": 1}]})
    changes = {"kind": "cursor", "cursor": "next", "parameter": "after"}
    poller = HttpPoller(api.url("/changes"), records="data", changes=changes)
    async with poller.opened():
        with pytest.raises(
            TrelayError, match=r"changes\.cursor: the expression gives nothing on a page with new records"
        ):
            await poller.drain()
