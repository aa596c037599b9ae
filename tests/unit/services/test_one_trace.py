"""An event through the three layers is one trace, whatever layer its spans are made in."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp

from services.experience_api.app import build_experience_api
from services.experience_api.auth.clients import add_client
from services.experience_api.producers.once.memory import MemoryKeyStore
from services.experience_api.registry.memory import MemoryRegistry
from services.experience_api.settings import ExperienceSettings
from services.process_api.app import build_process_api
from services.process_api.settings import ProcessSettings
from services.system_api.app import build_system_api
from services.system_api.settings import SystemSettings
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.http.server import Health
from shared.lease import MemoryLeaseStore
from tests.unit.services.system_api.sources.file.file_poller import write
from tests.unit.shared.telemetry.tracers import MemorySpans

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECRET = "4929-1234"

EXPERIENCE = {"listen": {"port": 0}, "drain_delay": 0, "drain_within": 1, "entity": {"allow": ["127.0.0.0/8"]}}
PROCESS = {"listen": {"port": 0}, "pipelines": {"orders": {"sources": ["orders"], "channel": "orders"}}}


def system(folder: Path) -> SystemSettings:
    source = {"kind": "file", "path": str(folder / "a.ndjson"), "type": "t", "subject": "id", "interval": 0.05}
    return SystemSettings.model_validate({"system": {"listen": {"port": 0}, "sources": {"orders": source}}})


LAYERS = ("system_api", "process_api", "experience_api")


async def test_poll_commit_pipeline_and_frame_are_one_trace(tmp_path: Path) -> None:
    spans, bus, leases = MemorySpans(), MemoryBus(), MemoryLeaseStore()
    tracing = {layer: await asyncio.to_thread(spans.tracing, layer) for layer in LAYERS}
    registry, health = MemoryRegistry(leases), Health("test")
    await add_client(registry, "demo", secret="demo")
    shared: Any = {"bus": bus, "alerts": RecordingAlerts(), "health": health}
    async with AsyncExitStack() as stack, asyncio.timeout(60):
        experience = await stack.enter_async_context(
            build_experience_api(
                ExperienceSettings.model_validate({"experience": EXPERIENCE}),
                registry=registry,
                leases=leases,
                keys=MemoryKeyStore(bool),
                tracing=tracing["experience_api"],
                **shared,
            )
        )
        process = ProcessSettings.model_validate({"process": PROCESS})
        await stack.enter_async_context(build_process_api(process, tracing=tracing["process_api"], **shared))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        url = experience.listening.url
        while not health.readiness.ready:
            await asyncio.sleep(0.01)
        async with http.post(f"{url}/consumers", headers={"client_id": "demo", "client_secret": "demo"}) as response:
            token = (await response.json())["token"]
        socket = await stack.enter_async_context(
            http.ws_connect(f"{url}/ws/publish", headers={"Authorization": f"Bearer {token}"})
        )
        assert json.loads((await socket.receive()).data)["type"] == "trelay.connected"
        write(tmp_path / "a.ndjson", 1, 2)
        given = {"leases": leases, "tracing": tracing["system_api"], **shared}
        await stack.enter_async_context(build_system_api(system(tmp_path), **given))
        frames = [json.loads((await socket.receive()).data) for _ in range(2)]
        headers = {"traceparent": TRACEPARENT}
        async with http.post(f"{url}/entity?channel=orders", json={"card": SECRET}, headers=headers) as response:
            assert response.status == 202
        pushed = json.loads((await socket.receive()).data)
        while len(spans.named("deliver trelay.publish")) < 2:
            await asyncio.sleep(0.01)
    check_read(spans, frames)
    check_pushed(spans, pushed)
    exported = "".join(span.to_json() for span in spans.ended)
    assert not [secret for secret in (SECRET, token, "demo") if secret in exported]


def check_read(spans: MemorySpans, frames: list[Any]) -> None:
    """What the system layer read is a trace of its own."""
    assert len({frame["traceparent"] for frame in frames}) == 1
    _, trace_id, span_id, flags = frames[0]["traceparent"].split("-")
    assert flags == "01"
    (poll,) = spans.named("poll orders")
    assert poll.context is not None
    assert (f"{poll.context.trace_id:032x}", f"{poll.context.span_id:016x}") == (trace_id, span_id)
    hops = {"send trelay.ingest": "system_api", "process trelay.ingest": "process_api"}
    hops["deliver trelay.publish"] = "experience_api"
    for name, service in hops.items():
        found = spans.named(name)
        assert found, name
        assert poll.context.span_id in {span.parent.span_id for span in found if span.parent is not None}, name
        for span in found:
            assert span.resource.attributes["service.name"] == service
    counts = [span.attributes or {} for span in spans.named("deliver trelay.publish")]
    assert sum(int(str(found["messaging.batch.message_count"])) for found in counts) == 3
    assert sum(int(str(found["trelay.frames"])) for found in counts) == 3


def check_pushed(spans: MemorySpans, frame: Any) -> None:
    """What was pushed continues the trace of the sender."""
    (request,) = spans.named("POST /entity")
    assert request.parent is not None
    assert request.context is not None
    assert f"00-{request.parent.trace_id:032x}-{request.parent.span_id:016x}-01" == TRACEPARENT
    assert frame["traceparent"] == f"{TRACEPARENT[:36]}{request.context.span_id:016x}-01"
    for name in ("send trelay.publish", "deliver trelay.publish"):
        parents = {span.parent.span_id for span in spans.named(name) if span.parent is not None}
        assert request.context.span_id in parents, name
