"""The endpoints for operators, on the whole service without a server."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from services.system_api.api.documents import files
from services.system_api.api.operations import OPERATIONS
from services.system_api.app import build_system_api
from services.system_api.settings import SystemSettings
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.lease import MemoryLeaseStore
from tests.described import Described, routes_of
from tests.unit.services.system_api.sources.file.file_poller import write

OPENAPI = Described(files())
TOKEN = "0123456789abcdef0123456789abcdef"


class Api:
    """The endpoints of one service."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def post(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        async with self._session.post(f"{self._url}/sources/{path}", json=body, headers=headers) as answer:
            return self._checked("POST", f"/sources/{path}", answer.status, await answer.json(content_type=None))

    async def get(self, path: str = "", **headers: str) -> tuple[int, Any]:
        async with self._session.get(f"{self._url}/sources{path}", headers=headers) as answer:
            return self._checked("GET", f"/sources{path}", answer.status, await answer.json(content_type=None))

    def _checked(self, method: str, path: str, status: int, body: Any) -> tuple[int, Any]:
        OPENAPI.check(method, path, status, body)
        return status, body

    async def document(self) -> Any:
        async with self._session.get(f"{self._url}/openapi.json") as answer:
            return await answer.json()

    async def until(self, condition: Callable[[Any], bool]) -> Any:
        """Wait until the source satisfies a condition."""
        async with asyncio.timeout(60):
            while not condition(found := (await self.get("/orders"))[1]):
                await asyncio.sleep(0.01)
        return found


@contextlib.asynccontextmanager
async def running(folder: Path, bus: MemoryBus, **system: Any) -> AsyncIterator[Api]:
    source = {"kind": "file", "path": str(folder / "a.ndjson"), "type": "t", "subject": "id", "channel": "c"}
    given = {"node": "n", "listen": {"port": 0}, "sources": {"orders": source | {"interval": 3600}}, **system}
    settings = SystemSettings.model_validate({"system": given})
    outside: dict[str, Any] = {"leases": MemoryLeaseStore(), "alerts": RecordingAlerts()}
    async with (
        build_system_api(settings, bus=bus, **outside) as service,
        aiohttp.ClientSession() as session,
    ):
        yield Api(service.listening.url, session)


async def test_a_source_is_paused_resumed_polled_and_rewound(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    bus = MemoryBus()
    write(tmp_path / "a.ndjson", 1, 2, 3)
    async with running(tmp_path, bus) as api:
        found = await api.until(lambda orders: orders["state"] == "running")
        assert (found["name"], found["owner"], found["counts"]["published"]) == ("orders", "n", 3)
        status, answer = await api.post("orders/pause", {"reason": "maintenance"})
        assert (status, answer["paused"]["by"], answer["paused"]["reason"]) == (202, "loopback", "maintenance")
        await api.until(lambda orders: orders["state"] == "paused")
        status, problem = await api.post("orders/poll")
        assert (status, problem["detail"]) == (409, "source orders is paused; resume it first")
        status, answer = await api.post("orders/rewind", {"to": "beginning", "dry_run": True})
        assert (status, answer["dry_run"], answer["from"] != answer["to"]) == (200, True, True)
        assert (await api.get("/orders"))[1]["request"] is None
        status, answer = await api.post("orders/rewind", {"to": "beginning"})
        assert (status, answer["request"]["command"], answer["request"]["to"]) == (202, "rewind", '"beginning"')
        await api.until(lambda orders: orders["request"]["state"] == "done")
        assert (await api.post("orders/resume"))[0] == 202
        await api.until(lambda orders: orders["counts"]["published"] == 6)
        write(tmp_path / "a.ndjson", 1, 2, 3, 4)
        assert (await api.post("orders/poll"))[0] == 202
        await api.until(lambda orders: orders["counts"]["published"] >= 7)
    audited = [record.__dict__ for record in caplog.records if record.message == "operator request accepted"]
    assert [(line["command"], line["source"], line["operator"], line["address"]) for line in audited] == [
        (command, "orders", "loopback", "127.0.0.1") for command in ("pause", "rewind", "resume", "poll")
    ]


async def test_files_are_compared_as_a_whole(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", 1, 2)
    async with running(tmp_path, MemoryBus()) as api:
        await api.until(lambda orders: orders["counts"]["published"] == 2)
        status, found = await api.post("orders/reconcile", {})
    assert status == 200
    assert (found["from"], found["to"], found["upstream"], found["published"]) == (None, None, 2, 2)
    assert found["not_compared"]


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("other/pause", None, 404, "there is no source 'other'"),
        ("orders/pause", {"why": "x"}, 400, "found the member 'why'; expected reason"),
        ("orders/pause", {"reason": 7}, 400, "reason: expected text"),
        ("orders/pause", [], 400, "expected a JSON object"),
        ("orders/resume", {"reason": "x"}, 400, "expected an empty body"),
        ("orders/rewind", {}, 400, "to: found null"),
        ("orders/rewind", {"to": "start"}, 400, 'to: found "start"'),
        ("orders/rewind", {"to": "end", "dry_run": "yes"}, 400, "dry_run: expected true or false"),
        ("orders/rewind", {"to": {"position": {"": "x"}}, "dry_run": True}, 400, "not that of a file source"),
        ("orders/stop", None, 404, "there is nothing at"),
        ("orders/reconcile", {"from": "2026-01-01T00:00:00Z", "to": None}, 400, "to: found null; expected RFC 3339"),
        ("orders/reconcile", {"from": "2026-01-01T00:00:00", "to": "x"}, 400, "which has no time zone"),
        (
            "orders/reconcile",
            {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"},
            400,
            "the rows have no time of their own",
        ),
    ],
)
async def test_what_cannot_be_asked_is_refused_with_a_reason(
    tmp_path: Path, path: str, body: Any, status: int, said: str
) -> None:
    write(tmp_path / "a.ndjson", 1)
    async with running(tmp_path, MemoryBus()) as api:
        await api.until(lambda orders: orders["state"] == "running")
        found, problem = await api.post(path, body)
    assert (found, problem["title"] != "", said in problem["detail"]) == (status, True, True), problem


async def test_what_is_delivered_directly_cannot_be_compared(tmp_path: Path) -> None:
    """A retry would not help, so it is no 503."""
    async with running(tmp_path, MemoryBus(), deliver={"url": "http://127.0.0.1:1/entity"}) as api:
        found, problem = await api.post("orders/reconcile", {})
    assert found == 409
    assert "source orders delivers directly (`system.deliver`)" in problem["detail"]


async def test_the_counts_of_a_source_by_hour(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", 1, 2, 3)
    async with running(tmp_path, MemoryBus()) as api, asyncio.timeout(60):
        windows: list[Any] = []
        while sum(window["published"] for window in windows) < 3:
            windows = (await api.get("/orders/windows"))[1]["windows"]
        assert sum(window["rows"] for window in windows) == 3
        for hours in ("0", "x", "745", ""):
            assert (await api.get(f"/orders/windows?hours={hours}"))[0] == 400


async def test_a_body_that_is_no_json_is_refused(tmp_path: Path) -> None:
    async with (
        running(tmp_path, MemoryBus()) as api,
        api._session.post(f"{api._url}/sources/orders/pause", data=b"{") as answer,
    ):
        problem = await answer.json(content_type=None)
    assert (answer.status, "the body is not JSON" in problem["detail"]) == (400, True)


async def test_with_operators_every_request_needs_a_token(tmp_path: Path) -> None:
    async with running(tmp_path, MemoryBus(), operators={"alice": {"token": TOKEN}}) as api:
        for path in ("", "/orders"):
            assert (await api.get(path))[0] == 401
        assert (await api.post("orders/pause"))[0] == 401
        assert (await api.get("", Authorization="Bearer wrong"))[0] == 401
        assert (await api.get("", Authorization=f"Bearer {TOKEN}"))[0] == 200
        status, answer = await api.post("orders/pause", Authorization=f"Bearer {TOKEN}")
        assert (status, answer["paused"]["by"]) == (202, "alice")


async def test_without_operators_a_page_in_a_browser_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, MemoryBus()) as api:
        status, problem = await api.post("orders/pause", Origin="https://example.com")
    assert (status, "none from a browser" in problem["detail"]) == (403, True)


async def test_the_document_has_the_endpoints_of_this_service(tmp_path: Path) -> None:
    async with running(tmp_path, MemoryBus()) as api:
        assert routes_of(await api.document()) == OPERATIONS.keys() - {("POST", "/hooks/{source}")}
