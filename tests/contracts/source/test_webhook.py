"""Webhooks that any replica receives, in an inbox in PostgreSQL."""

import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

import pytest
from multidict import CIMultiDict
from prometheus_client import CollectorRegistry

from services.system_api.sources.http.webhook.inbox.postgres import PostgresInbox
from services.system_api.sources.http.webhook.inbox.protocol import Inbox
from services.system_api.sources.http.webhook.metrics import WebhookMetrics
from services.system_api.sources.http.webhook.opening import WebhookSourceKind
from services.system_api.sources.http.webhook.receiver import Receiver, Request
from services.system_api.sources.source import SourceOpener
from shared.database.options import DatabaseOptions
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from tests.contracts.source.replica import SOURCE
from tests.contracts.source.suite import SourceContract
from tests.contracts.source.upstream import COMMON, line
from tests.servers.proxy import Proxy
from tests.servers.webhook_senders import SECRET, github


class OnInbox(WebhookSourceKind):
    """The kind, on the inbox of the test."""

    inbox: ClassVar[Inbox]

    def opener(self, name: str, clock: Clock, rng: random.Random, inbox: Inbox | None = None) -> SourceOpener:
        return super().opener(name, clock, rng, inbox or self.inbox)


class Sender:
    exactly_once = True

    def __init__(self, proxy: Proxy, received: Inbox, read: Inbox) -> None:
        """`received` is the inbox of the replica that receives, `read` that of those that publish."""
        self.outage = proxy.outage
        self.slow = proxy.slow
        self._kind: type[OnInbox] = type("OnThisInbox", (OnInbox,), {"inbox": read})
        metrics = WebhookMetrics(CollectorRegistry(), [SOURCE])
        self._receiver = Receiver(SOURCE, self.options(), received, metrics, SYSTEM_CLOCK)
        self._numbers = itertools.count()

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, database: DatabaseOptions) -> AsyncIterator["Sender"]:
        host, port = database.hosts[0], int(database.url.rpartition(":")[2].partition("/")[0])
        async with Proxy.before(host, port) as proxy:
            through = DatabaseOptions(url=database.url.replace(f":{port}/", f":{proxy.port}/"))
            async with PostgresInbox.opened(database) as received, PostgresInbox.opened(through) as read:
                yield cls(proxy, received, read)

    def options(self) -> WebhookSourceKind:
        settings: dict[str, Any] = {
            **COMMON,
            "kind": "webhook",
            "verify": {"kind": "github", "secrets": [SECRET]},
            "subject": "k",
        }
        return self._kind.model_validate(settings)

    async def write(self, numbers: Sequence[int]) -> None:
        """Deliver each number twice, as a sender does that has missed an answer; pairs of numbers share a delivery."""
        for pair in _pairs(numbers):
            body = b"[%b]" % b",".join(line(number) for number in pair)
            delivery = f"{next(self._numbers)}"
            for _ in range(2):
                await self._deliver(body, delivery)

    async def write_poison(self) -> None:
        await self._deliver(b"{no json", "poison")

    async def _deliver(self, body: bytes, delivery: str) -> None:
        parts = iter([body, b""])

        async def read() -> bytes:
            return next(parts)

        await self._receiver.receive(Request(CIMultiDict(github(body, delivery)), len(body), read, "127.0.0.1"))


def _pairs(numbers: Sequence[int]) -> list[Sequence[int]]:
    return [numbers[first : first + 2] for first in range(0, len(numbers), 2)]


class TestWebhook(SourceContract):
    interruptions = 6

    @pytest.fixture
    async def upstream(self, migrated_database: DatabaseOptions) -> AsyncIterator[Sender]:
        async with Sender.opened(migrated_database) as sender:
            yield sender
