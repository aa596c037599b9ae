"""A receiver on an inbox in memory, and requests to it."""

import asyncio
from collections.abc import Mapping
from typing import Any

from multidict import CIMultiDict
from prometheus_client import CollectorRegistry

from services.system_api.sources.http.webhook.inbox.memory import MemoryInbox
from services.system_api.sources.http.webhook.metrics import WebhookMetrics
from services.system_api.sources.http.webhook.options import WebhookSourceOptions
from services.system_api.sources.http.webhook.receiver import Answer, Receiver, Request
from services.system_api.sources.http.webhook.refusals import Refused
from shared.runtime.clock import SystemClock
from tests.servers.webhook_senders import SECRET

SOURCE = "hooks"


class SetClock(SystemClock):
    """A clock that a test sets."""

    at = 1_800_000_000.0

    def time(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


def options(**given: Any) -> WebhookSourceOptions:
    """Return settings of a source that GitHub delivers to."""
    verify = {"kind": "github", "secrets": [SECRET]}
    return WebhookSourceOptions.model_validate({"kind": "webhook", "type": "t", "verify": verify} | given)


class Receiving:
    """A receiver, what it counts, and what it has stored."""

    def __init__(self, **given: Any) -> None:
        self.clock = SetClock()
        self.inbox = MemoryInbox(self.clock)
        self.registry = CollectorRegistry()
        self.options = options(**given)
        metrics = WebhookMetrics(self.registry, [SOURCE])
        self.receiver = Receiver(SOURCE, self.options, self.inbox, metrics, self.clock)
        self.reads = 0
        """How often a body was read."""

    async def send(self, headers: Mapping[str, str], *body: bytes, size: int | None = None) -> Answer:
        """Send a request whose body arrives in parts."""
        parts = [*body, b""]

        async def read() -> bytes:
            self.reads += 1
            return parts.pop(0)

        return await self.receiver.receive(Request(CIMultiDict(headers), size, read, "192.0.2.1"))

    async def code(self, headers: Mapping[str, str], *body: bytes, size: int | None = None) -> str:
        """Send a request; return the outcome, or the code of the refusal."""
        try:
            return (await self.send(headers, *body, size=size)).outcome
        except Refused as exc:
            return exc.refusal.code

    async def stored(self) -> list[str | None]:
        """Return the ids of what is in the inbox."""
        return [each.delivery.id for each in await self.inbox.read(SOURCE, 0, 1000, 1 << 30)]

    def count(self, outcome: str) -> float | None:
        """Return how many requests had an outcome."""
        labels = {"source": SOURCE, "outcome": outcome}
        return self.registry.get_sample_value("trelay_webhook_requests_total", labels)


async def stuck() -> bytes:
    """Never return."""
    await asyncio.Event().wait()
    return b""
