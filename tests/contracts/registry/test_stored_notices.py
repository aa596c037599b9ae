"""What is stored for a node that does not know all of it: a newer release has written it."""

import uuid

import pytest
from sqlalchemy.dialects.postgresql import insert

from services.experience_api.registry.notices import ProbeResult
from shared.database.engine import create_engine
from shared.database.options import DatabaseOptions
from shared.database.tables.connections import connection_notices
from shared.lease import PostgresLeaseStore
from tests.contracts.registry.deployment import alive
from tests.contracts.registry.test_postgres import PostgresDeployment

pytestmark = pytest.mark.every_postgres


async def test_a_notice_that_is_not_known_is_taken_and_ignored(migrated_database: DatabaseOptions) -> None:
    async with PostgresLeaseStore.opened(migrated_database) as store:
        deployment = PostgresDeployment(migrated_database, store)
        async with deployment.connect() as registry:
            node = await alive(deployment, "one")
            engine = create_engine(migrated_database)
            async with engine.begin() as connection:
                await connection.execute(insert(connection_notices).values(node=node.name, notice='{"type": "newer"}'))
            await engine.dispose()
            known = ProbeResult(uuid.uuid4(), alive=True)
            await registry.leave(node.name, known)
            assert await registry.take_notices(node) == [known]
            assert await registry.take_notices(node) == []
