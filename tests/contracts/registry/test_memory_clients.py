"""The clients of the registry in memory pass the suite of every registry."""

import pytest

from tests.contracts.registry.deployment import Deployment
from tests.contracts.registry.suite import ClientsSuite
from tests.contracts.registry.test_memory import MemoryDeployment


class TestMemoryClients(ClientsSuite):
    @pytest.fixture
    async def deployment(self) -> Deployment:
        return MemoryDeployment()
