"""Tokens that several releases, and several replicas at the same moment, store."""

import pytest
from sqlalchemy import update

from services.experience_api.refusals import TOKEN_REFUSED
from services.experience_api.registry.clients import Client
from shared.database.engine import create_engine
from shared.database.options import DatabaseOptions
from shared.database.tables.clients import consumers
from shared.lease import PostgresLeaseStore
from tests.contracts.registry.deployment import alive, claimed, claims, refusal_of
from tests.contracts.registry.test_postgres import PostgresDeployment

pytestmark = pytest.mark.every_postgres


async def test_a_registration_of_the_release_before_ends_all_other_tokens(migrated_database: DatabaseOptions) -> None:
    """It does not know the column of the tokens, and leaves it as it is."""
    before = update(consumers).values(token_hash=claims(token="of the release before").token_hash)
    others = [claims(token=name) for name in ("first", "second")]
    async with PostgresLeaseStore.opened(migrated_database) as store:
        deployment = PostgresDeployment(migrated_database, store)
        async with deployment.connect() as registry:
            await registry.add(Client("demo", "x", max_connections=3))
            for each in others:
                await registry.register(each)
            assert await registry.invalid(others, 30) == {}
            engine = create_engine(migrated_database)
            async with engine.begin() as connection:
                await connection.execute(before)
            await engine.dispose()
            assert await registry.invalid(others, 30) == dict.fromkeys(others, TOKEN_REFUSED)
            node = await alive(deployment, "one")
            assert await refusal_of(registry, node) is TOKEN_REFUSED
            await registry.register(claims(token="third"))
            assert await registry.invalid(others, 30) == dict.fromkeys(others, TOKEN_REFUSED)
            await claimed(registry, node, token="of the release before")
            await claimed(registry, node, token="third")
