"""Each service answers as its OpenAPI document says, whatever is sent to it: Schemathesis finds nothing.

The short form sends what the keywords of the schemas tell apart, the long one random requests and sequences of them as
well. `TRELAY_TEST_SEED` repeats a run.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from services.experience_api.app import build_experience_api
from services.experience_api.auth.clients import add_client
from services.experience_api.registry.postgres import PostgresRegistry
from services.experience_api.settings import ExperienceSettings
from services.process_api.app import build_process_api
from services.process_api.settings import ProcessSettings
from services.system_api.app import build_system_api
from services.system_api.settings import SystemSettings
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.composition.serving import RunningService
from shared.database.options import DatabaseOptions
from tests.conformance import Found, Run, findings
from tests.servers.webhook_senders import SECRET
from tests.unit.services.process_api.dead_letters.lettering import Desk, bad_line, reject

TOKEN = "0123456789abcdef0123456789abcdef"
OPERATORS = {"alice": {"token": TOKEN}}
OPERATOR = {"operator": {"bearer": TOKEN}}
SOURCE = {"type": "t", "channel": "c", "interval": 3600}
PIPELINES = {
    "orders": {
        "sources": ["orders"],
        "channel": "orders",
        "steps": [{"filter": "n > 1"}],
        "shadow": {"steps": [{"filter": "n > 2"}]},
    },
}

random_requests = pytest.mark.parametrize(
    "random_requests", [0, pytest.param(200, marks=[pytest.mark.chaos, pytest.mark.timeout(1200)])]
)


@asynccontextmanager
async def system_layer(folder: Path, database: DatabaseOptions) -> AsyncIterator[RunningService]:
    lines = folder / "orders.ndjson"
    lines.write_text('{"id": 1}\n')
    sources = {
        "orders": {**SOURCE, "kind": "file", "path": str(lines), "subject": "id"},
        "hooks": {**SOURCE, "kind": "webhook", "verify": {"kind": "github", "secrets": [SECRET]}},
    }
    system = {"listen": {"port": 0}, "operators": OPERATORS, "sources": sources}
    settings = SystemSettings.model_validate({"database": database, "system": system})
    async with build_system_api(settings, bus=MemoryBus(), alerts=RecordingAlerts()) as service:
        yield await ready(service)


@asynccontextmanager
async def process_layer() -> AsyncIterator[RunningService]:
    bus = MemoryBus()
    await Desk(bus).write(*(reject(number) for number in range(20)), bad_line(20))
    process = {"listen": {"port": 0}, "operators": OPERATORS, "pipelines": PIPELINES}
    topics = {"topics": {"partitions": 2}}
    settings = ProcessSettings.model_validate({"process": process, "bus": {"kind": "postgres", **topics}})
    async with build_process_api(settings, bus=bus, alerts=RecordingAlerts()) as service:
        yield await ready(service)


@asynccontextmanager
async def experience_layer(database: DatabaseOptions) -> AsyncIterator[RunningService]:
    async with PostgresRegistry.opened(database) as registry:
        for client in ("demo", "reader"):
            await add_client(registry, client, secret=client)
    experience = {
        "listen": {"port": 0},
        "drain_delay": 0,
        "drain_within": 0,
        "handshakes": {"failures": 1_000_000},
        "registrations": {"failures": 1_000_000},
        "entity": {"producers": {"shop": {"tokens": [TOKEN], "channels": ["**"]}}},
        "admin": {"listen": {"port": 0}, "operators": OPERATORS},
    }
    settings = ExperienceSettings.model_validate({"database": database, "experience": experience})
    async with build_experience_api(settings, bus=MemoryBus(), alerts=RecordingAlerts()) as service:
        yield await ready(service)


async def ready(service: RunningService) -> RunningService:
    async with aiohttp.ClientSession(service.listening.url) as http, asyncio.timeout(60):
        status = 0
        while status != 200:
            async with http.get("/readyz") as response:
                status = response.status
    return service


async def conforms(url: str, run: Run) -> Found:
    """Check that there is nothing to find at an address, and that every operation was tried."""
    found = await asyncio.to_thread(findings, url, run)
    print(f"{found.requests} requests")
    assert not found.disagreements, f"{found}"
    tried = {operation for operation, _ in found.statuses}
    async with aiohttp.ClientSession() as http, http.get(f"{url}/openapi.json") as response:
        document = await response.json()
    described = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert described - tried == run.left_out | {"GET /openapi.json"}, "it is read to begin with"
    return found


def accepted(found: Found) -> set[str]:
    """Return the operations that accepted a request: of the others, only refusals were tested."""
    return {operation for operation, status in found.statuses if 200 <= status < 300 and status != 204}


@random_requests
async def test_the_system_layer(random_requests: int, tmp_path: Path, migrated_database: DatabaseOptions) -> None:
    run = Run(
        auth=OPERATOR,
        parameters={"path.name": "orders", "path.source": "hooks"},
        # Positions are of the source, and a source of files counts within no range.
        undecidable={"POST /sources/{name}/rewind": (400,), "POST /sources/{name}/reconcile": (400,)},
        random_requests=random_requests,
    )
    async with system_layer(tmp_path, migrated_database) as service:
        found = await conforms(service.listening.url, run)
    # A webhook is signed, and a poll of a source that was paused before is refused.
    assert len({name for name in accepted(found) if "/sources" in name}) >= 9
    assert found.statuses["POST /hooks/{source}", 403] > 0


@random_requests
async def test_the_process_layer(random_requests: int) -> None:
    lists = ("GET /dead-letters", "GET /dead-letters/counts", "POST /dead-letters/replay", "POST /dead-letters/drop")
    run = Run(
        auth=OPERATOR,
        parameters={"path.name": "orders", "path.id": "0-1"},
        # Cursors are made by the service; ids and filters exclude one another; a partition may not exist.
        undecidable=dict.fromkeys((*lists, "POST /pipelines/{name}/rewind"), (400,)),
        ambiguous=frozenset({"POST /pipelines/reload", *lists[2:]}),
        random_requests=random_requests,
    )
    async with process_layer() as service:
        found = await conforms(service.listening.url, run)
    # Without a settings file, a reload is refused.
    assert {name for name in accepted(found) if "/pipelines" in name} >= {
        "GET /pipelines",
        "GET /pipelines/{name}/shadow",
        "POST /pipelines/{name}/pause",
    }
    assert accepted(found) >= {"GET /dead-letters", "GET /dead-letters/{id}"}


@random_requests
async def test_the_experience_layer(random_requests: int, migrated_database: DatabaseOptions) -> None:
    async with (
        experience_layer(migrated_database) as service,
        aiohttp.ClientSession(service.listening.url) as http,
    ):
        async with http.post("/consumers", headers={"Client-Id": "reader", "Client-Secret": "reader"}) as response:
            token = (await response.json())["token"]
        run = Run(
            auth={
                "client": {"username": "demo", "password": "demo"},
                "token": {"bearer": token},
                "producer": {"bearer": TOKEN},
            },
            parameters={"query.wait": 0},
            undecidable={
                "GET /ws/publish": (400, 426),  # it is no upgrade
                "GET /events": (400,),  # cursors, and filters of channels
                "POST /entity": (400, 422),  # parameters that other content types take; a key of another push
            },
            left_out=frozenset({"GET /sse/publish"}),  # it does not end
            random_requests=random_requests,
        )
        found = await conforms(service.listening.url, run)
    assert accepted(found) >= {"POST /consumers", "POST /tickets", "GET /events", "POST /entity"}


@random_requests
async def test_the_admin_api(random_requests: int, migrated_database: DatabaseOptions) -> None:
    run = Run(
        auth=OPERATOR,
        parameters={"path.client_id": "demo", "query.channel": "orders", "query.wait": 0},
        created=frozenset({"path.client_id"}),
        undecidable={
            # A secret is printable, by the tables of Unicode, and at most 256 bytes; and not the same as before.
            "POST /clients": (400,),
            "POST /clients/{client_id}/rotate": (400,),
            "GET /events": (400,),  # cursors, and filters of channels
            "GET /explain": (400,),  # cursors, and parameters that stand for each other
            # An extension of a CloudEvent may be 405 and not 405.0, which is an integer for JSON Schema.
            "POST /events": (400,),
        },
        random_requests=random_requests,
    )
    async with experience_layer(migrated_database) as service:
        assert service.admin is not None
        found = await conforms(service.admin.url, run)
    assert accepted(found) >= {"GET /clients", "PATCH /clients/{client_id}", "GET /events", "POST /events"}
