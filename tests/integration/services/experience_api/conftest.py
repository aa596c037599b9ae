from collections.abc import AsyncIterator

import pytest

from services.experience_api.auth.clients import add_client
from services.experience_api.registry.postgres import PostgresRegistry
from shared.database.options import DatabaseOptions
from tests.integration.services.experience_api.replicas import Deployment, Replica


@pytest.fixture
async def deployment(migrated_database: DatabaseOptions) -> Deployment:
    """A database with the client `demo`, whose secret is `demo`, and a bus."""
    async with PostgresRegistry.opened(migrated_database) as registry:
        await add_client(registry, "demo", secret="demo")
    return Deployment(migrated_database)


@pytest.fixture
async def replica(deployment: Deployment) -> AsyncIterator[Replica]:
    """One ready replica."""
    async with deployment.replica() as replica:
        yield replica
