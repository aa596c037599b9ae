"""The inbox in memory keeps the promises of every inbox."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.system_api.sources.http.webhook.inbox.memory import MemoryInbox
from services.system_api.sources.http.webhook.inbox.protocol import Inbox
from shared.runtime.clock import SYSTEM_CLOCK
from tests.contracts.inbox.suite import InboxContract


class MemoryDeployment:
    """One inbox for all connections."""

    def __init__(self) -> None:
        self._inbox = MemoryInbox(SYSTEM_CLOCK)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Inbox]:
        yield self._inbox


class TestMemoryInbox(InboxContract):
    @pytest.fixture
    async def deployment(self) -> MemoryDeployment:
        return MemoryDeployment()
