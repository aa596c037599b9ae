"""The endpoints for operators, on the whole service without a server."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from services.process_api.api.documents import files
from services.process_api.api.operations import OPERATIONS
from services.process_api.app import build_process_api
from services.process_api.settings import ProcessSettings
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Outgoing
from shared.errors import SettingsError
from shared.events.headers import headers_of
from shared.runtime.reloading import SettingsFile
from tests.described import Described, routes_of
from tests.unit.services.process_api.making import event

OPENAPI = Described(files())
TOKEN = "0123456789abcdef0123456789abcdef"
PIPELINES: dict[str, Any] = {
    "orders": {"sources": ["orders", "eu.*"], "channel": "orders", "steps": [{"filter": "n > 1"}]},
    "totals": {"sources": ["*"], "steps": [{"dedupe": {"within": 60}}, {"route": "region"}]},
}


class Api:
    """The endpoints of one service."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def get(self, path: str = "", **headers: str) -> tuple[int, Any]:
        async with self._session.get(f"{self._url}/pipelines{path}", headers=headers) as answer:
            return self._checked("GET", f"/pipelines{path}", answer.status, await answer.json(content_type=None))

    async def post(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        async with self._session.post(f"{self._url}/pipelines/{path}", json=body, headers=headers) as answer:
            return self._checked("POST", f"/pipelines/{path}", answer.status, await answer.json(content_type=None))

    async def call(self, path: str, body: Any) -> tuple[int, Any]:
        async with self._session.post(f"{self._url}{path}", json=body) as answer:
            return self._checked("POST", path, answer.status, await answer.json(content_type=None))

    async def document(self) -> Any:
        async with self._session.get(f"{self._url}/openapi.json") as answer:
            return await answer.json()

    def _checked(self, method: str, path: str, status: int, body: Any) -> tuple[int, Any]:
        OPENAPI.check(method, path, status, body)
        return status, body

    async def until(self, condition: Callable[[Any], bool], name: str = "orders") -> Any:
        """Wait until a pipeline satisfies a condition."""
        async with asyncio.timeout(60):
            while not condition(found := (await self.get(f"/{name}"))[1]):
                await asyncio.sleep(0.01)
        return found


@contextlib.asynccontextmanager
async def running(bus: MemoryBus, node: str = "n", **process: Any) -> AsyncIterator[Api]:
    given = {"node": node, "listen": {"port": 0}, "pipelines": PIPELINES, **process}
    settings = ProcessSettings.model_validate({"process": given})
    async with (
        build_process_api(settings, bus=bus, alerts=RecordingAlerts()) as service,
        aiohttp.ClientSession() as session,
    ):
        yield Api(service.listening.url, session)


async def ingest(bus: MemoryBus, *numbers: int) -> None:
    async with bus.appender() as appender:
        for number in numbers:
            value = event({"n": number, "region": "eu"}, id=f"orders:{number}")
            record = Outgoing(b"C-1", value, headers_of(b"orders 1700000000000 orders:%d" % number))
            await appender.append("trelay.ingest", [record])


def published(bus: MemoryBus, channel: str) -> list[int]:
    found = [record for number in range(4) for record in bus.records("trelay.publish", number)]
    return [json.loads(record.value or b"")["data"]["n"] for record in found if record.key == channel.encode()]


async def test_the_pipelines_are_shown_with_what_they_read_run_and_write() -> None:
    async with running(MemoryBus()) as api:
        await api.until(lambda found: not found["unknown"] and found["partitions"]["3"]["replica"] == "n")
        status, shown = await api.get()
        orders = shown["orders"]
        version = orders.pop("version")
        assert (status, len(version)) == (200, 8)
        assert [(name, each["version"]) for name, each in orders.pop("replicas").items()] == [("n", version)]
        partition = {"position": 0, "end": 0, "waiting": 0, "replica": "n"}
        assert orders == {
            "state": "running",
            "unknown": {},
            "sources": ["orders", "eu.*"],
            "channel": "orders",
            "steps": ["steps.0.filter"],
            "stateful": False,
            "topics": {"in": ["trelay.ingest"], "out": ["trelay.publish", "trelay.dead-letter"]},
            "paused": None,
            "held": [],
            "lag": 0,
            "partitions": {str(number): partition for number in range(4)},
            "events": {"taken": 0, "published": 0, "dead_letters": 0},
            "rates": {"published_per_second": 0.0, "dead_letters_per_second": 0.0},
            "state_size": {},
            "last_error": None,
            "rewind": None,
        }
        assert shown["totals"]["channel"] is None
        assert shown["totals"]["topics"]["out"] == ["trelay.publish", "trelay.dead-letter", "trelay.state"]


async def test_a_pipeline_is_paused_resumed_and_rewound_on_any_replica(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    bus = MemoryBus()
    async with running(bus, "a") as one, running(bus, "b") as another:
        await one.until(lambda found: found["lag"] == 0)
        await ingest(bus, 2, 3)
        await one.until(lambda found: found["lag"] == 0 and found["events"]["published"] == 2)
        status, shown = await another.post("orders/pause", {"reason": "rebuild"})
        assert (status, shown["state"], shown["paused"]["by"], shown["paused"]["reason"]) == (
            202, "paused", "loopback", "rebuild",
        )  # fmt: skip
        await one.until(lambda found: found["state"] == "paused")
        await ingest(bus, 4)
        await another.until(lambda found: found["lag"] == 1)
        assert published(bus, "orders") == [2, 3]
        assert (await one.post("orders/resume"))[1]["state"] == "running"
        await another.until(lambda found: found["lag"] == 0)
        assert published(bus, "orders") == [2, 3, 4]

        status, planned = await another.post("orders/rewind", {"to": "beginning", "dry_run": True})
        ((number, plan),) = planned["partitions"].items()
        assert (status, plan, planned["events"], planned["exact"], planned["refused"]) == (
            200, {"position": 3, "to": 0, "events": 3}, 3, True, None,
        )  # fmt: skip
        assert published(bus, "orders") == [2, 3, 4]
        status, shown = await another.post("orders/rewind", {"to": {"offsets": {number: 1}}})
        assert (status, shown["rewind"]["by"], shown["rewind"]["to"]) == (
            202, "loopback", f'{{"offsets": {{"{number}": 1}}}}',
        )  # fmt: skip
        await one.until(lambda found: found["rewind"]["state"] == "done" and found["lag"] == 0)
        assert published(bus, "orders") == [2, 3, 4, 3, 4]
        replicas = (await one.until(lambda found: len(found["replicas"]) == 2))["replicas"]
        assert set(replicas) == {"a", "b"}
    commands = [record.__dict__["command"] for record in caplog.records if record.msg == "operator request accepted"]
    assert commands == ["pause", "resume", "rewind"]


async def test_the_size_of_the_state_is_shown() -> None:
    bus = MemoryBus()
    async with running(bus) as api:
        await api.until(lambda found: found["lag"] == 0)
        await ingest(bus, 1, 2)
        found = await api.until(lambda found: found["state_size"].get("steps.0.dedupe", {}).get("keys") == 2, "totals")
        assert found["state_size"]["steps.0.dedupe"]["bytes"] > 20


async def test_what_cannot_be_done_is_refused_with_a_reason() -> None:
    async with running(MemoryBus()) as api:
        await api.until(lambda found: found["lag"] == 0)
        for path, body, status, detail in (
            ("orders/pause", {"reason": 1}, 400, "reason: expected text"),
            ("orders/pause", {"why": ""}, 400, "found the member 'why'; expected reason"),
            ("orders/rewind", {}, 400, "to: found null"),
            ("orders/rewind", {"to": "beginning", "dry_run": 1}, 400, "dry_run: expected true or false"),
            ("orders/rewind", {"to": "beginning"}, 409, "has not passed that place"),
            ("totals/rewind", {"to": "beginning"}, 409, "it keeps state"),
            ("order/pause", {}, 404, "there is no pipeline 'order'"),
        ):
            found, problem = await api.post(path, body)
            assert (found, detail in problem["detail"]) == (status, True), problem
        planned = (await api.post("totals/rewind", {"to": "beginning", "dry_run": True}))[1]
        assert "it keeps state" in planned["refused"]


async def test_a_held_pipeline_says_why_and_its_last_error_is_shown() -> None:
    pipelines = {"orders": {"sources": ["orders"], "channel": "c", "steps": [{"map": "n = 1 ? missing : $"}]}}
    bus = MemoryBus()
    async with running(bus, pipelines=pipelines) as api:
        await api.until(lambda found: found["lag"] == 0)
        await ingest(bus, 1)
        found = await api.until(lambda found: found["last_error"] is not None)
        assert found["last_error"]["error"].startswith("steps.0.map: ")
        assert found["last_error"]["origin"].startswith("trelay.ingest/")
        assert found["events"] == {"taken": 1, "published": 0, "dead_letters": 1}


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
        assert (await api.post("orders/pause"))[0] == 401
        assert (await api.get(Authorization=f"Bearer {TOKEN}"))[0] == 200


async def test_a_reload_reaches_all_replicas_and_a_bad_file_changes_nothing() -> None:
    bus = MemoryBus()
    given: dict[str, Any] = {"listen": {"port": 0}, "pipelines": PIPELINES}
    before = ProcessSettings.model_validate({"process": given})
    fewer = ProcessSettings.model_validate({"process": {**given, "pipelines": {"orders": PIPELINES["orders"]}}})

    def bad(_files: set[Path]) -> ProcessSettings:
        raise SettingsError("b.yaml: is bad")

    async with contextlib.AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        apis = {}
        for node, read in (("a", lambda _files: fewer), ("b", bad), ("c", lambda _files: fewer)):
            service = await stack.enter_async_context(
                build_process_api(before, node=node, bus=bus, alerts=RecordingAlerts())
            )
            _ = SettingsFile(before, read, service.sections)
            apis[node] = Api(service.listening.url, session)
            await apis[node].until(lambda found: found["lag"] == 0)
        status, problem = await apis["b"].post("reload")
        assert (status, problem["detail"]) == (422, "nothing has changed: b.yaml: is bad")
        assert set((await apis["a"].get())[1]) == {"orders", "totals"}
        status, answer = await apis["a"].post("reload")
        assert (status, answer["reloaded"], set(answer["versions"])) == (202, ["process.pipelines"], {"orders"})
        async with asyncio.timeout(60):
            while set((await apis["c"].get())[1]) != {"orders"}:
                await asyncio.sleep(0.01)
        assert set((await apis["b"].get())[1]) == {"orders", "totals"}


async def test_a_pipeline_that_a_reload_removes_while_it_is_looked_up_is_not_there() -> None:
    class Slow(MemoryBus):
        """Reloads, once, before it says where a pipeline is."""

        reload: Callable[[], Awaitable[Any]] | None = None

        async def bounds(self, topic: str) -> Mapping[int, tuple[int, int]]:
            if topic == "trelay.ingest" and (reload := self.reload) is not None:
                self.reload = None
                await reload()
            return await super().bounds(topic)

    bus = Slow()
    given: dict[str, Any] = {"node": "n", "listen": {"port": 0}, "pipelines": PIPELINES}
    before = ProcessSettings.model_validate({"process": given})
    fewer = ProcessSettings.model_validate({"process": {**given, "pipelines": {"orders": PIPELINES["orders"]}}})
    async with (
        build_process_api(before, bus=bus, alerts=RecordingAlerts()) as service,
        aiohttp.ClientSession() as session,
    ):
        file = SettingsFile(before, lambda _files: fewer, service.sections)
        api = Api(service.listening.url, session)
        await api.until(lambda found: found["lag"] == 0)
        bus.reload = file.reread
        status, problem = await api.get("/totals")
        assert (status, "reload has removed pipeline 'totals'" in problem["detail"]) == (404, True)
        assert bus.reload is None
        assert set((await api.get())[1]) == {"orders"}


async def test_a_process_without_a_settings_file_cannot_reload() -> None:
    async with running(MemoryBus()) as api:
        status, problem = await api.post("reload")
        assert (status, problem["detail"]) == (409, "this process has no settings file to read again")


async def test_the_document_has_the_endpoints_of_this_service() -> None:
    async with running(MemoryBus()) as api:
        assert routes_of(await api.document()) == OPERATIONS.keys()
