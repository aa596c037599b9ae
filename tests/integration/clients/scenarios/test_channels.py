"""Channels that change while a subscription runs, in every client library."""

from pathlib import Path

import pytest
from aiohttp import web

from services.experience_api.auth.clients import add_client
from tests.integration.clients.scenarios.programs import PATIENT, Start, javascript, served
from tests.integration.clients.sent import SECRET
from tests.integration.services.experience_api.replicas import Deployment

pytestmark = pytest.mark.timeout(900)  # the first one installs and builds the JavaScript client


async def test_they_change_on_the_living_connection_and_hold_for_the_next_one(
    deployment: Deployment, start: Start
) -> None:
    changes = {"1": {"subscribe": ["b"]}, "4": {"unsubscribe": ["a"]}}
    async with (
        served(deployment) as (replica, line),
        start(url=line.url, channels=["a"], changes=changes) as program,
    ):
        await program.until_control("trelay.connected")
        await replica.push("b", 0)
        await replica.push("a", 1)
        assert await program.numbers(1) == [1]
        assert (await program.until("changed"))["changed"] == ["a", "b"]
        await replica.push("b", 2)
        assert await program.numbers(1) == [2]
        assert len(line.cursors) == 1, "one connection"
        line.cut()
        await replica.push("b", 3)
        assert await program.numbers(1) == [3]
        await replica.push("a", 4)
        assert await program.numbers(1) == [4]
        assert (await program.until("changed"))["changed"] == ["b"]
        await replica.push("a", 5)
        await replica.push("b", 6)
        assert await program.numbers(1) == [6]
        line.cut()
        await replica.push("a", 7)
        await replica.push("b", 8)
        assert await program.numbers(1) == [8]
        assert "trelay.gap" not in program.said("control")
        assert len(set(line.changes)) == 2


@pytest.mark.parametrize("cut", [False, True], ids=["connected", "cut"])
async def test_a_change_without_an_answer_is_made_once_more(deployment: Deployment, start: Start, cut: bool) -> None:
    changes = {"1": {"subscribe": ["b"], "filters": {"b": "number != 2"}}}
    async with (
        served(deployment) as (replica, line),
        start(url=line.url, channels=["a"], changes=changes) as program,
    ):
        await program.until_control("trelay.connected")
        line.answers = [web.Response(status=503), web.Response(status=502)]
        await replica.push("a", 1)
        assert await program.numbers(1) == [1]
        if cut:
            line.cut()
        assert (await program.until("changed"))["changed"] == ["a", "b"]
        line.cut()
        await replica.push("b", 2, 3)
        assert await program.numbers(1) == [3]


async def test_a_change_that_is_refused_changes_nothing(deployment: Deployment, start: Start) -> None:
    changes = {
        "1": {"subscribe": ["prices"]},
        "2": {"subscribe": ["orders.us"], "filters": {"orders.us": "total >"}},
        "3": {"unsubscribe": ["orders.eu"]},
    }
    given = {"clientId": "shop", "clientSecret": SECRET, "channels": ["orders.eu"], "changes": changes}
    async with served(deployment) as (replica, line):
        await add_client(replica.registry, "shop", secret=SECRET, channels=["orders.*"])
        async with start(url=line.url, **given) as program:
            await program.until_control("trelay.connected")
            await replica.push("orders.eu", 1)
            assert (await program.until("refused"))["refused"] == "channel-not-permitted"
            await replica.push("orders.eu", 2)
            assert (await program.until("refused"))["refused"] == "malformed"
            await replica.push("orders.eu", 3)
            assert "no channel that is left" in (await program.until("failed"))["failed"]
            line.cut()
            await replica.push("orders.us", 4)
            await replica.push("orders.eu", 5)
            assert await program.numbers(1) == [5]
            assert len(line.changes) == 2


async def test_they_change_over_an_event_stream_as_well(deployment: Deployment, library: Path) -> None:
    """The Python library has none."""
    changes = {"1": {"subscribe": ["b"]}, "2": {"unsubscribe": ["a"]}}
    async with (
        deployment.replica(PATIENT) as replica,
        javascript(library)(url=replica.url, channels=["a"], changes=changes, transport="sse") as program,
    ):
        await program.until_control("trelay.connected")
        await replica.push("a", 1)
        assert (await program.until("changed"))["changed"] == ["a", "b"]
        await replica.push("b", 2)
        assert (await program.until("changed"))["changed"] == ["b"]
        await replica.push("a", 3)
        await replica.push("b", 4)
        assert await program.numbers(1) == [4]
        assert program.said("control").count("trelay.connected") == 1
