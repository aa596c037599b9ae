"""What every client library does, on a real server: one suite for both."""

import json
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web

from services.experience_api.auth.clients import add_client
from tests.integration.clients.scenarios.programs import PATIENT, Start, served
from tests.integration.clients.sent import SECRET, add_sender, stored
from tests.integration.services.experience_api.replicas import Deployment
from tests.integration.services.experience_api.test_snapshots import LATEST, Upstream
from tests.servers.websocket_proxy import websocket_proxy

pytestmark = pytest.mark.timeout(900)  # the first one installs and builds the JavaScript client


async def test_a_lost_line_costs_nothing(deployment: Deployment, start: Start) -> None:
    async with served(deployment) as (replica, line), start(url=line.url) as program:
        await program.until_control("trelay.connected")
        numbers: list[int] = []
        for begin in (0, 5, 10):
            await replica.push("orders", *range(begin, begin + 5))
            numbers += await program.numbers(5)
            line.cut()
        assert numbers == list(range(15))
        await program.until_control("trelay.connected")
        assert "trelay.gap" not in program.said("control")
        assert line.registrations == 1, "the token is kept"
        assert line.cursors[0] is None
        assert None not in line.cursors[1:]


async def test_a_program_that_starts_again_resumes_from_its_store(
    deployment: Deployment, start: Start, tmp_path: Path
) -> None:
    store = str(tmp_path / "cursor")
    async with served(deployment) as (replica, line):
        async with start(url=line.url, store=store) as program:
            await program.until_control("trelay.connected")
            await replica.push("orders", 0, 1)
            seen = await program.numbers(2)
        await deployment.until_no_connection()
        await replica.push("orders", 2)
        async with start(url=line.url, store=store) as program:
            found = await program.numbers(1)
            while found[-1] < 2:  # it was printed, and the program was killed before its cursor was stored
                found += await program.numbers(1)
            assert seen[-1] >= found[0] - 1
            assert "trelay.gap" not in program.said("control")


async def test_a_cursor_that_cannot_be_resumed_from_is_a_gap(
    deployment: Deployment, start: Start, tmp_path: Path
) -> None:
    (tmp_path / "cursor").write_text("broken")
    async with (
        served(deployment) as (replica, line),
        start(url=line.url, store=str(tmp_path / "cursor")) as program,
    ):
        gap = await program.until_control("trelay.gap")
        assert gap["reason"] == "cursor-malformed"
        await replica.push("orders", 1)
        assert await program.numbers(1) == [1]


@pytest.mark.parametrize(("ending", "code"), [("replaced", 4501), ("removed", 4503), ("disabled", 4504)])
async def test_an_ending_that_would_come_again_stops_it(
    deployment: Deployment, start: Start, ending: str, code: int
) -> None:
    async with served(deployment) as (replica, line), start(url=line.url) as program:
        await program.until_control("trelay.connected")
        if ending == "replaced":
            await replica.register()
        elif ending == "removed":
            headers = {"Client-Id": "demo", "Client-Secret": "demo"}
            assert (await replica.request("DELETE", "/consumers", headers)).status == 204
        else:
            assert await replica.registry.disable("demo")
        assert (await program.until("stopped"))["stopped"] == code
        assert program.said("retry") == []


@pytest.mark.parametrize("how", ["expired", "replaced"])
async def test_a_token_that_is_refused_is_replaced_once(deployment: Deployment, start: Start, how: str) -> None:
    async with served(deployment) as (replica, line), start(url=line.url) as program:
        await program.until_control("trelay.connected")
        await replica.push("orders", 0)
        numbers = await program.numbers(1)
        line.admits.clear()
        line.cut()
        await deployment.until_no_connection()
        await replica.push("orders", 1)
        if how == "expired":
            await deployment.expire_tokens()
        else:
            await replica.register()
        line.admits.set()
        assert numbers + await program.numbers(1) == [0, 1]
        assert line.registrations == 2


async def test_a_wrong_secret_stops_it(deployment: Deployment, start: Start) -> None:
    async with served(deployment) as (_, line), start(url=line.url, clientSecret="wrong") as program:
        assert (await program.until("stopped"))["stopped"] == 401
        assert program.said("retry") == []
        assert line.registrations == 1


async def test_a_disabled_client_stops_it(deployment: Deployment, start: Start) -> None:
    async with served(deployment) as (replica, line):
        assert await replica.registry.disable("demo")
        async with start(url=line.url) as program:
            assert (await program.until("stopped"))["stopped"] == 401, "it looks like a wrong secret"
            assert program.said("retry") == []


async def test_a_channel_that_is_not_permitted_stops_it(deployment: Deployment, start: Start) -> None:
    async with served(deployment) as (replica, line):
        await add_client(replica.registry, "billing", secret="billing", channels=["orders.*"])
        given = {"clientId": "billing", "clientSecret": "billing", "channels": ["prices"]}
        async with start(url=line.url, **given) as program:
            stopped = await program.until("stopped")
            assert stopped["stopped"] in {403, 4508}, "scripts see the code of the Close frame alone"
            assert program.said("retry") == []


@pytest.mark.parametrize("status", [408, 429, 503])
async def test_a_refusal_for_a_time_is_waited_for(deployment: Deployment, start: Start, status: int) -> None:
    async with served(deployment) as (_, line):
        line.responses.append(web.json_response({}, status=status, headers={"Retry-After": "1"}))
        async with start(url=line.url) as program:
            retry = await program.until("retry")
            assert 1.0 <= retry["pause"] <= 1.5, "at least as long, and not all at once"
            await program.until_control("trelay.connected")
            assert line.registrations == 2


async def test_a_limit_that_others_have_exceeded_is_waited_for_by_wrong_secrets_alone(
    deployment: Deployment, start: Start
) -> None:
    limits = {"registrations": {"failures": 1, "failures_per_second": 0.0001}}
    async with served(deployment, limits) as (replica, line):
        wrong = {"Client-Id": "demo", "Client-Secret": "wrong"}
        assert [(await replica.request("POST", "/consumers", wrong)).status for _ in range(2)] == [401, 429]
        async with start(url=line.url, clientSecret="wrong") as program:
            retry = await program.until("retry")
            assert "429" in retry["retry"], "a real one"
            assert retry["pause"] > 1000, "as the service asks"
            assert program.said("stopped") == []
        async with start(url=line.url) as program:
            await program.until_control("trelay.connected")
            assert program.said("retry") == []


async def test_a_registration_without_a_token_is_tried_again(deployment: Deployment, start: Start) -> None:
    async with served(deployment) as (_, line):
        line.responses.append(web.json_response({"no": "token"}, status=201))
        async with start(url=line.url) as program:
            await program.until("retry")
            await program.until_control("trelay.connected")
            assert len(line.cursors) == 1, "no connection without a token"


async def test_a_redirect_stops_it(deployment: Deployment, start: Start) -> None:
    async with served(deployment) as (_, line), websocket_proxy("http://127.0.0.1:1") as elsewhere:
        moved = {"Location": f"{elsewhere.url}/consumers"}
        line.responses.append(web.Response(status=307, headers=moved))
        async with start(url=line.url) as program:
            stopped = await program.until("stopped")
            assert stopped["stopped"] == 307
            assert moved["Location"] in stopped["text"]
        assert elsewhere.registrations == 0, "the secret is not sent there"


async def test_a_frame_that_cannot_be_read_is_reported_and_the_stream_goes_on(
    deployment: Deployment, start: Start
) -> None:
    async with served(deployment) as (replica, line), start(url=line.url) as program:
        await program.until_control("trelay.connected")
        await line.send('{"type": "order", "data": tru')
        assert (await program.until("unreadable"))["unreadable"] == '{"type": "order", "data": tru'
        await replica.push("orders", 1)
        assert await program.numbers(1) == [1]
        assert program.said("retry") == []


async def test_a_program_that_is_slow_receives_all(deployment: Deployment, start: Start) -> None:
    """More than the outbox holds comes from the log, once the program takes it."""
    count, fill = 600, "x" * 4000
    hub = {"hub": {"outbox_bytes": 262_144}, "drain": {"spread": 0}}
    async with served(deployment, {"delivery": hub}) as (replica, line), start(url=line.url, busy=1) as program:
        await program.until_control("trelay.connected")
        for begin in range(0, count, 100):
            batch = [
                {
                    "specversion": "1.0",
                    "id": str(number),
                    "source": "/test",
                    "type": "t",
                    "channel": "orders",
                    "data": {"number": number, "fill": fill},
                }
                for number in range(begin, begin + 100)
            ]
            kind = {"Content-Type": "application/cloudevents-batch+json"}
            response = await replica.request("POST", "/entity", kind, json.dumps(batch).encode())
            assert response.status == 202, response
        assert await program.numbers(count) == list(range(count))
        assert "trelay.gap" not in program.said("control")


async def test_a_snapshot_comes_before_the_stream(deployment: Deployment, start: Start) -> None:
    upstream = Upstream(deployment)
    async with served(deployment, LATEST) as (_, line):
        await upstream.publish(("orders.eu", "a"), ("orders.eu", "b"))
        await upstream.publish(("orders.eu", "a"))
        await upstream.until_copied()
        async with start(url=line.url, snapshot=True, channels=["orders.*"]) as program:
            assert (await program.until_control("trelay.snapshot"))["phase"] == "begin"
            assert sorted(await program.numbers(2)) == [2, 3]
            assert await program.until_control("trelay.snapshot") == {"phase": "end", "count": 2}
            await upstream.publish(("orders.eu", "b"))
            assert await program.numbers(1) == [4]
            line.cut()
            await upstream.publish(("orders.eu", "b"))
            assert await program.numbers(1) == [5]
            assert program.said("control").count("trelay.snapshot") == 2, "it resumes from its cursor"


async def test_what_it_sends_is_stored_once_over_a_lost_line(deployment: Deployment, start: Start) -> None:
    async with served(deployment) as (replica, line):
        await add_sender(replica)
        ids = [f"reading-{number}" for number in range(10)]
        async with start(url=line.url, clientId="sensor", clientSecret=SECRET, send=ids) as program:
            for number in range(10):
                await program.until("stored")
                if number in {2, 6}:
                    line.cut()
            assert program.said("stored") == ids
        assert await stored(deployment, 10) == [{"sent": each} for each in ids]


async def test_a_second_program_with_the_same_token_waits_for_the_first(deployment: Deployment, start: Start) -> None:
    async with served(deployment) as (replica, line), AsyncExitStack() as stack:
        token = await replica.register()
        first = await stack.enter_async_context(start(url=line.url, token=token))
        await first.until_control("trelay.connected")
        async with start(url=line.url, token=token) as second:
            retry = await second.until("retry")
            assert "409" in retry["retry"] or "4005" in retry["retry"], retry
            assert retry["pause"] >= 2.0, "as the service asks"
            await replica.push("orders", 1)
            assert await first.numbers(1) == [1]
            await stack.aclose()
            await second.until_control("trelay.connected")
            await replica.push("orders", 2)
            assert await second.numbers(1) == [2]


async def test_a_replica_that_drains_is_left_for_another(deployment: Deployment, start: Start) -> None:
    async with AsyncExitStack() as stack, deployment.replica(PATIENT) as other:
        draining = await stack.enter_async_context(deployment.replica(PATIENT))
        async with websocket_proxy(draining.url) as line, start(url=line.url) as program:
            await program.until_control("trelay.connected")
            await draining.push("orders", 0)
            assert await program.numbers(1) == [0]
            line.upstream = other.url
            await stack.aclose()
            assert "draining" in (await program.until("retry"))["retry"]
            await other.push("orders", 1)
            assert await program.numbers(1) == [1]
            assert "trelay.gap" not in program.said("control")
            assert line.registrations == 1


async def test_heartbeats_are_answered_where_the_proxy_answers_pings(deployment: Deployment, start: Start) -> None:
    async with served(deployment) as (replica, line):
        token = await replica.register()
        async with start(url=line.url, token=token, answerHeartbeats=True) as program:
            await program.until_control("trelay.connected")
            assert (await replica.upgrade(token)).code == "already-connected", "it has answered the one that came"
            await replica.push("orders", 1)
            assert await program.numbers(1) == [1]
            assert "trelay.heartbeat" not in program.said("control")
