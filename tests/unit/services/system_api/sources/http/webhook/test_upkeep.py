"""The inboxes are looked at: old ids are forgotten, and a full inbox is an alert until there is room."""

import asyncio

from prometheus_client import CollectorRegistry

from services.system_api.sources.http.webhook.inbox.delivery import Delivery, Limits
from services.system_api.sources.http.webhook.inbox.memory import MemoryInbox
from services.system_api.sources.http.webhook.metrics import WebhookMetrics
from services.system_api.sources.http.webhook.upkeep import ALERT, Upkeep
from shared.alerts import RecordingAlerts
from shared.runtime.clock import SystemClock
from tests.unit.services.system_api.sources.http.webhook.receiving_requests import options


class Rounds(SystemClock):
    """A clock whose sleep ends when the test says so."""

    def __init__(self) -> None:
        self.asleep, self.awake = asyncio.Event(), asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.asleep.set()
        await self.awake.wait()
        self.awake.clear()

    async def round(self) -> None:
        """Return after another look."""
        self.asleep.clear()
        self.awake.set()
        await self.asleep.wait()


async def test_the_life_of_an_inbox() -> None:
    clock, registry, alerts = Rounds(), CollectorRegistry(), RecordingAlerts()
    inbox = MemoryInbox(clock)
    sources = {"hooks": options(inbox_limit=2, window_limit=1)}
    upkeep = Upkeep(sources, inbox, WebhookMetrics(registry, sources), alerts, clock)

    def value(name: str) -> float | None:
        return registry.get_sample_value(f"trelay_webhook_{name}", {"source": "hooks"})

    assert value("inbox_deliveries") == value("ids_forgotten_early_total") == 0
    await inbox.store("hooks", [Delivery("a", b"12"), Delivery("b", b"3")], Limits(2, 1000))
    running = asyncio.ensure_future(upkeep.run())
    await clock.asleep.wait()
    assert (value("inbox_deliveries"), value("inbox_bytes"), value("remembered_ids")) == (2, 3, 1)
    assert value("ids_forgotten_early_total") == 1
    assert alerts.reported(ALERT, "hooks")
    inbox.problem = "away"
    await clock.round()
    assert alerts.reported(ALERT, "hooks")
    inbox.problem = None
    await inbox.remove("hooks", 1)
    await clock.round()
    await clock.round()
    assert not alerts.reported(ALERT, "hooks")
    assert value("inbox_deliveries") == 1
    running.cancel()
    await asyncio.wait([running])
