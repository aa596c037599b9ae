"""The endpoints for operators, on the whole service without a server."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from services.process_api.api.documents import files
from services.process_api.app import build_process_api
from services.process_api.settings import ProcessSettings
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Transaction, Writer
from shared.errors import Fenced
from tests.described import Described
from tests.unit.services.process_api.dead_letters.lettering import TOPICS, Desk, bad_line, reject
from tests.unit.services.process_api.worker.streaming import until

OPENAPI = Described(files())
TOKEN = "0123456789abcdef0123456789abcdef"
PIPELINES: dict[str, Any] = {
    "orders": {
        "sources": ["orders"],
        "channel": "orders",
        "steps": [{"validate": {"type": "object", "required": ["total"]}}],
    },
}


class Api:
    """The endpoints of one service."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def post(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        async with self._session.post(f"{self._url}/dead-letters/{path}", json=body, headers=headers) as answer:
            return self._checked("POST", f"/dead-letters/{path}", answer.status, await answer.json(content_type=None))

    async def get(self, path: str = "", **headers: str) -> tuple[int, Any]:
        async with self._session.get(f"{self._url}/dead-letters{path}", headers=headers) as answer:
            return self._checked("GET", f"/dead-letters{path}", answer.status, await answer.json(content_type=None))

    def _checked(self, method: str, path: str, status: int, body: Any) -> tuple[int, Any]:
        OPENAPI.check(method, path, status, body)
        return status, body


@contextlib.asynccontextmanager
async def running(bus: MemoryBus | None = None, **process: Any) -> AsyncIterator[tuple[Api, Desk]]:
    bus = bus or MemoryBus()
    desk = Desk(bus)
    await desk.write(reject(1), bad_line(2), reject(3))
    given = {"node": "n", "listen": {"port": 0}, "pipelines": PIPELINES, **process}
    settings = ProcessSettings.model_validate(
        {"process": given, "bus": {"kind": "postgres", "topics": {"partitions": 2}}}
    )
    async with (
        build_process_api(settings, bus=bus, alerts=RecordingAlerts()) as service,
        aiohttp.ClientSession() as session,
    ):
        async with session.get(f"{service.listening.url}/readyz") as ready:
            assert ready.status in {200, 503}
        yield Api(service.listening.url, session), desk


async def fenced(writer: Writer) -> bool:
    try:
        await writer.commit(Transaction())
    except Fenced:
        return True
    return False


async def connected(api: Api) -> None:
    """Wait until the service has its bus."""
    while (await api.get())[0] == 503:
        pass


async def test_an_operator_lists_shows_replays_and_drops_letters(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with running() as (api, desk):
        await connected(api)
        _, found = await api.get("?source=orders&order=oldest")
        assert [each["id"] for each in found["letters"]] == ["0-0", "0-2"]
        assert (await api.get("/counts?stage=source"))[1]["total"] == 1
        status, shown = await api.get("/0-0")
        assert (status, shown["json"]["id"], shown["replayable"]) == (200, "orders:1", True)
        status, found = await api.post("replay", {"pipeline": "orders", "dry_run": True})
        assert (status, found["replayed"], desk.ingested()) == (200, 2, [])
        status, found = await api.post("replay", {"ids": ["0-0"], "data": {"n": 1, "total": 9}})
        assert (status, found["replayed"]) == (200, 1)
        await until(lambda: len(desk.published()) == 1)
        assert json.loads(desk.published()[0].value or b"")["data"] == {"n": 1, "total": 9}
        await api.post("replay", {"ids": ["0-2"]})
        await until(lambda: len(desk.records(TOPICS.dead_letter)) == 4)
        status, shown = await api.get("/0-3")
        assert (shown["attempts"], shown["replay_of"], shown["event_id"]) == (2, "0-2", "orders:3")
        assert (await api.post("drop", {"all": True, "reason": "test"}))[1]["dropped"] == 2
        assert (await api.get())[1]["letters"] == []
    decided = [record.__dict__ for record in caplog.records if record.message == "dead letters decided"]
    assert [(each["command"], each["operator"], each["count"]) for each in decided] == [
        ("replay", "loopback", 1),
        ("replay", "loopback", 1),
        ("drop", "loopback", 2),
    ]


async def test_wrong_requests_are_problems() -> None:
    async with running() as (api, _):
        await connected(api)
        assert (await api.get("/0-77"))[0] == 404
        assert (await api.get("/latest"))[0] == 400
        status, problem = await api.post("replay", {})
        assert (status, problem["title"]) == (400, "Bad Request")
        assert "which letters?" in problem["detail"]


async def test_what_a_killed_replica_left_open_is_ended() -> None:
    bus = MemoryBus()
    async with bus.writer("dead-letters.0") as killed, running(bus) as (api, _):
        await connected(api)
        async with asyncio.timeout(60):
            while not await fenced(killed):
                await asyncio.sleep(0.01)


async def test_reading_letters_takes_a_token_too() -> None:
    async with running(operators={"alice": {"token": TOKEN}}) as (api, desk):
        assert (await api.get("/counts"))[0] == 401
        for status in [(await api.get())[0], (await api.get("/0-0"))[0], (await api.post("drop", {"all": True}))[0]]:
            assert status == 401
        while (await api.get(Authorization=f"Bearer {TOKEN}"))[0] == 503:
            pass
        await api.post("drop", {"ids": ["0-0"]}, Authorization=f"Bearer {TOKEN}")
        assert (await desk.page(status="dropped"))["letters"][0]["decision"]["by"] == "alice"
