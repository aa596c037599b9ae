"""What an API may do wrong."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from services.system_api.sources.capabilities import Rewinding
from shared.errors import Malformed, SettingsError, Unavailable
from shared.http.client.failures import UnusableResponse
from shared.runtime.clock import SystemClock
from tests.integration.services.system_api.sources.http.http_poller import HttpPoller, SteppedClock, orders
from tests.servers.http_api import HttpApi, Listing


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (
            (200, {"Content-Type": "text/html"}, b"<html>Login</html>"),
            "the body is not JSON: .*begins with '<html>Login",
        ),
        ((200, {}, b""), "the body is empty; the body begins with an empty body"),
        (
            {"error": "no"},
            "records: the expression finds nothing in the body, which is an object with the members error",
        ),
        ({"items": "none"}, 'records: the expression gives "none"'),
        ({"items": {"a": {"b": 1}}, "x": 9007199254740993}, None),
        ((404, {}, b"gone"), "404 Not Found: 'gone'"),
    ],
)
async def test_a_response_that_cannot_be_used_is_an_error(api: HttpApi, answer: Any, error: str | None) -> None:
    api.answer("/orders", answer)
    poller = HttpPoller(api.url("/orders"), records="items")
    async with poller.opened():
        if error is None:
            assert await poller.data() == []
            assert "id: the expression gives nothing" in poller.rejects[0].error
        else:
            with pytest.raises(UnusableResponse, match=f"GET {api.url('/orders')}: {error}"):
                await poller.poll()
    assert poller.events == []


async def test_no_content_is_no_records(api: HttpApi) -> None:
    api.answer("/orders", 204)
    poller = HttpPoller(api.url("/orders"))
    async with poller.opened():
        assert await poller.data() == []


async def test_a_poison_record_is_dead_lettered_once_and_the_others_go_on(api: HttpApi) -> None:
    listing = Listing([{"id": 1}, {"name": "no id"}, {"id": 3}], size=10)
    api.answer("/orders", listing)
    poller = HttpPoller(api.url("/orders"), records="items")
    async with poller.opened():
        assert [each["id"] for each in await poller.data()] == [1, 3]
        listing.records.append({"id": 4})
        assert [each["id"] for each in await poller.data()] == [4]
    async with poller.opened():
        assert await poller.data() == []
    (reject,) = poller.rejects
    assert reject.value == b'{"name":"no id"}'
    assert reject.error.startswith(f"GET {api.url('/orders')}, record 2: id: the expression gives nothing")
    assert reject.stage == "source"
    assert reject.origin.startswith("orders:GET http://127.0.0.1:")


async def test_an_unreadable_record_is_not_deleted(api: HttpApi) -> None:
    listing = Listing([{"id": 1, "n": 1}, {"id": 2, "n": 1}], size=10)
    api.answer("/orders", listing)
    changes = {"kind": "snapshot", "deleted_type": "order.deleted", "confirm_deletes": 1}
    poller = HttpPoller(api.url("/orders"), records="items", subject="n", changes=changes)
    async with poller.opened():
        await poller.drain()
        listing.records[0]["n"] = None
        assert await poller.drain() == []
        listing.records[1] = {"no": "id"}
        assert await poller.drain() == []  # without its id it may be any record
        listing.records[:] = [{"id": 1, "n": 1}]
        assert [each["data"] for each in await poller.drain()] == [{"id": "2"}]


async def test_the_next_poll_repeats_a_request_that_failed(api: HttpApi) -> None:
    pages = Listing(orders(7))
    failures = iter([False, True, True, False, True, *[False] * 20])

    async def flaky(request: web.Request) -> web.Response:
        return web.Response(status=502) if next(failures) else await pages(request)

    api.answer("/orders", flaky)
    poller = HttpPoller(api.url("/orders"), records="items", pagination={"kind": "offset", "overlap": 1})
    failed = 0
    async with poller.opened():
        more = True
        while more:
            try:
                more = (await poller.poll(2)).more
            except Unavailable:
                failed += 1
    assert failed == 3
    assert [event["data"]["id"] for event in poller.events] == list(range(1, 8))


async def test_a_storm_of_429_is_waited_out_and_then_an_outage(api: HttpApi) -> None:
    refusal = (429, {"Retry-After": "100"}, None)
    api.answer("/orders", refusal, refusal, [{"id": 1}], refusal)
    clock = SteppedClock()
    poller = HttpPoller(api.url("/orders"), clock, retry={"attempts": 2})
    async with poller.opened():
        polls = 0
        while not poller.events:
            assert (await poller.poll()).more or poller.events  # it is not caught up while it waits
            polls += 1
        assert len(api.requests) == 3
        assert clock.at == 1_800_000_200
        assert polls > 6
        with pytest.raises(Unavailable, match="429 Too Many Requests"):
            await poll_without_end(poller)  # two refusals are waited out; the third one is an outage
        assert len(api.requests) == 6
        begun = clock.at
        with pytest.raises(Unavailable, match="429 Too Many Requests"):
            await poller.poll()  # it stays unavailable while it has to wait
        assert clock.at > begun
        assert len(api.requests) == 6


async def poll_without_end(poller: HttpPoller) -> None:
    while True:
        await poller.poll()


async def test_a_429_without_a_time_is_retried_by_the_policy_of_the_source(api: HttpApi) -> None:
    api.answer("/orders", 429, [{"id": 1}])
    poller = HttpPoller(api.url("/orders"))
    async with poller.opened():
        with pytest.raises(Unavailable):
            await poller.poll()
        assert await poller.data() == [{"id": 1}]


async def test_a_503_is_an_outage_and_its_retry_after_is_obeyed(api: HttpApi) -> None:
    api.answer("/orders", (503, {"Retry-After": "50"}, None), [{"id": 1}])
    clock = SteppedClock()
    poller = HttpPoller(api.url("/orders"), clock)
    async with poller.opened():
        for _ in range(3):
            with pytest.raises(Unavailable, match="503 Service Unavailable"):
                await poller.poll()
        assert len(api.requests) == 1
        assert await poller.data() == [{"id": 1}]
        assert clock.at >= 1_800_000_050


async def test_an_api_that_ignores_the_page_is_a_problem_and_no_endless_loop(api: HttpApi) -> None:
    api.answer("/orders", {"items": orders(3)})
    poller = HttpPoller(api.url("/orders"), records="items", pagination={"kind": "page", "parameter": "p"})
    async with poller.opened():
        assert len(await poller.data()) == 3
        assert "page 2 has the same records as the page before" in poller.problems[0]
        assert len(api.requests) < 12


async def test_a_page_that_takes_too_long_ends_the_poll(api: HttpApi) -> None:
    async def slow(_request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    api.answer("/orders", slow)
    poller = HttpPoller(api.url("/orders"), SystemClock(), poll_timeout=0.4, timeout=0.2)
    async with poller.opened():
        with pytest.raises(Unavailable, match=r"no answer within 0\.2 s"):
            await poller.poll()


async def test_csv_and_xml(api: HttpApi) -> None:
    api.answer("/csv", (200, {"Content-Type": "text/csv"}, b"id,name\n1,a\n2,b,c\n"))
    poller = HttpPoller(api.url("/csv"))
    async with poller.opened():
        assert await poller.data() == [{"id": "1", "name": "a"}]
    assert poller.rejects[0].value == b'["2","b","c"]'
    api.answer("/xml", (200, {}, b"<orders><order id='1'><name>a</name></order></orders>"))
    poller = HttpPoller(api.url("/xml"), format="xml", records="orders.order", id="`@id`")
    async with poller.opened():
        assert await poller.data() == [{"@id": "1", "name": "a"}]


async def test_a_checkpoint_of_other_settings_is_refused(api: HttpApi) -> None:
    api.answer("/orders", orders(1))
    poller = HttpPoller(api.url("/orders"))
    async with poller.opened():
        await poller.drain()
    other = HttpPoller(api.url("/orders"), time="at", changes={"kind": "time"})
    other.checkpoint = poller.checkpoint
    with pytest.raises(SettingsError, match=r"system\.sources\.orders: the checkpoint is of changes\.kind: snapshot;"):
        async with other.opened():
            pass


async def test_a_record_that_strict_readers_refuse_is_dead_lettered_and_the_page_is_read(api: HttpApi) -> None:
    bad = [rb'{"id":1,"n":1e400}', rb'{"id":2,"t":"\ud83d"}', b'{"id":3,"n":NaN}', b'{"id":4,"t":"\xff"}']
    body = b'{"items": [%b, {"id": 5, "t": "\\ud83d\\ude00"}]}' % b", ".join(bad)
    api.answer("/orders", (200, {"Content-Type": "application/json"}, body))
    poller = HttpPoller(api.url("/orders"), records="items")
    async with poller.opened():
        assert await poller.data() == [{"id": 5, "t": "\U0001f600"}]
        assert await poller.data() == []
    assert sorted(reject.value for reject in poller.rejects) == sorted(bad)
    assert all(", record " in reject.error for reject in poller.rejects)


async def test_a_list_whose_records_keep_moving_has_no_end_to_rewind_to(api: HttpApi) -> None:
    listing = Listing()
    listing.before_page = lambda number: listing.records.__setitem__(slice(None), orders(9, first=10 * number))
    api.answer("/orders", listing)
    poller = HttpPoller(api.url("/orders"), records="items", pagination={"kind": "offset", "overlap": 1})
    async with poller.opened():
        assert isinstance(poller.source, Rewinding)
        with pytest.raises(Malformed, match="the end cannot be found: records move between the pages"):
            await poller.source.checkpoint_at("end")
