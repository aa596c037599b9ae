"""The settings of three processes are those of one, with Kafka as the bus."""

import asyncio
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from services.standalone.data import EXAMPLES
from services.standalone.three_processes import _ready, _write_settings


def test_only_bus_database_and_addresses_differ(tmp_path: Path) -> None:
    original = tmp_path / "trelay.yaml"
    original.write_text((EXAMPLES / "trelay.yaml").read_text())
    ports = {"experience": 1, "process": 2, "system": 3}
    before = yaml.safe_load(original.read_text())
    after = yaml.safe_load(_write_settings(original, "127.0.0.1:9092", ports).read_text())
    assert after["bus"] == {"kind": "kafka", "servers": "127.0.0.1:9092"}
    assert after["database"] == {"url": "${TRELAY_DATABASE_URL}"}
    assert {layer: after[layer]["listen"]["port"] for layer in ports} == ports
    assert after["system"]["sources"] == before["system"]["sources"]
    assert after["process"]["pipelines"] == before["process"]["pipelines"]


async def test_a_layer_is_asked_without_a_detour_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    app = web.Application()
    app.router.add_get("/readyz", _fine)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        assert await asyncio.to_thread(_ready, runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def _fine(_request: web.Request) -> web.Response:
    return web.Response()
