"""A service with a webhook source accepts deliveries and publishes them."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from pydantic import ValidationError

from services.system_api.app import build_system_api
from services.system_api.settings import SystemSettings
from services.system_api.sources.http.webhook.inbox.memory import MemoryInbox
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.lease import MemoryLeaseStore
from shared.runtime.clock import SYSTEM_CLOCK
from tests.servers.webhook_senders import SECRET, github

SOURCE: dict[str, Any] = {
    "kind": "webhook",
    "type": "push",
    "channel": "pushes",
    "interval": 0.05,
    "verify": {"kind": "github", "secrets": [SECRET]},
}


async def test_a_delivery_is_accepted_and_published() -> None:
    settings = SystemSettings.model_validate({"system": {"listen": {"port": 0}, "sources": {"hooks": SOURCE}}})
    bus, inbox = MemoryBus(), MemoryInbox(SYSTEM_CLOCK)
    await bus.ensure_topics(settings.bus.topics.all())
    given: Any = {"bus": bus, "alerts": RecordingAlerts(), "leases": MemoryLeaseStore(), "inbox": inbox}
    async with build_system_api(settings, **given) as running, ClientSession() as client, asyncio.timeout(60):
        body = b'{"ref":"main"}'
        async with client.post(f"{running.listening.url}/hooks/hooks", data=body, headers=github(body, "d1")) as answer:
            assert answer.status == 200
        partitions = range(settings.bus.topics.partitions)
        found: list[Any] = []
        while not found:
            await asyncio.sleep(0.01)
            found = [record for number in partitions for record in bus.records(settings.bus.topics.publish, number)]
        assert json.loads(found[0].value or b"")["id"] == "hooks:d1"
        async with client.get(f"{running.listening.url}/metrics") as answer:
            assert 'trelay_webhook_requests_total{outcome="accepted",source="hooks"} 1.0' in await answer.text()


def test_without_a_database_a_webhook_is_refused(tmp_path: Path) -> None:
    deliver = {"url": "http://127.0.0.1:8080", "state": str(tmp_path)}
    with pytest.raises(ValidationError, match="source 'hooks' needs the database"):
        SystemSettings.model_validate({"system": {"deliver": deliver, "sources": {"hooks": SOURCE}}})
