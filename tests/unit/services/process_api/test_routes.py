"""The endpoints for operators, on the whole service without a server."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from services.process_api.app import build_process_api
from services.process_api.settings import ProcessSettings
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus

TOKEN = "0123456789abcdef0123456789abcdef"
PIPELINES: dict[str, Any] = {
    "orders": {"sources": ["orders", "eu.*"], "channel": "orders", "steps": [{"filter": "data.n > 1"}]},
    "totals": {"sources": ["*"], "steps": [{"dedupe": {"within": 60}}, {"route": "data.region"}]},
}


class Api:
    """The endpoints of one service."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def get(self, path: str = "", **headers: str) -> tuple[int, Any]:
        async with self._session.get(f"{self._url}/pipelines{path}", headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)


@contextlib.asynccontextmanager
async def running(bus: MemoryBus, **process: Any) -> AsyncIterator[Api]:
    given = {"node": "n", "listen": {"port": 0}, "pipelines": PIPELINES, **process}
    settings = ProcessSettings.model_validate({"process": given})
    async with (
        build_process_api(settings, bus=bus, alerts=RecordingAlerts()) as service,
        aiohttp.ClientSession() as session,
    ):
        yield Api(service.listening.url, session)


async def test_the_pipelines_are_shown_with_what_they_read_run_and_write() -> None:
    async with running(MemoryBus()) as api:
        status, shown = await api.get()
        version = shown["orders"].pop("version")
        assert (status, len(version)) == (200, 8)
        assert shown["orders"] == {
            "sources": ["orders", "eu.*"],
            "channel": "orders",
            "steps": ["steps.0.filter"],
            "stateful": False,
            "topics": {"in": ["trelay.ingest"], "out": ["trelay.publish", "trelay.dead-letter"]},
        }
        assert shown["totals"]["channel"] is None
        assert shown["totals"]["topics"]["out"] == ["trelay.publish", "trelay.dead-letter", "trelay.state"]
        assert await api.get("/orders") == (200, {"name": "orders", "version": version, **shown["orders"]})


async def test_an_unknown_pipeline_is_named() -> None:
    async with running(MemoryBus()) as api:
        status, problem = await api.get("/order")
        assert (status, problem["detail"]) == (404, "there is no pipeline 'order'; GET /pipelines lists them")


async def test_with_operators_every_request_needs_a_token() -> None:
    async with running(MemoryBus(), operators={"alice": {"token": TOKEN}}) as api:
        status, problem = await api.get()
        assert status == 401
        assert "process.operators" in problem["detail"]
        assert (await api.get("/orders"))[0] == 401
        assert (await api.get(Authorization=f"Bearer {TOKEN}"))[0] == 200
