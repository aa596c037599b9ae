"""A client is removed while it registers and connects."""

import asyncio
import contextlib

import pytest

from services.experience_api.refusals import Refused
from services.experience_api.registry.clients import Client
from services.experience_api.registry.notices import ClaimLost, LossReason
from services.experience_api.registry.protocol import Claim
from shared.database.options import DatabaseOptions
from shared.lease import PostgresLeaseStore
from tests.contracts.registry.deployment import alive, attempt, claims
from tests.contracts.registry.test_postgres import PostgresDeployment

pytestmark = pytest.mark.every_postgres

_ROUNDS = 15


async def test_a_connection_of_a_removed_client_is_refused_or_notified(migrated_database: DatabaseOptions) -> None:
    """In every order of registering, connecting and removing; none of them deadlocks."""
    async with PostgresLeaseStore.opened(migrated_database) as store:
        deployment = PostgresDeployment(migrated_database, store)
        node = await alive(deployment, "one")
        async with deployment.connect() as registry, deployment.connect() as operator:
            for number in range(_ROUNDS):
                await registry.add(Client("demo", "x"))
                granted: list[Claim] = []

                async def connect(granted: list[Claim] = granted) -> None:
                    with contextlib.suppress(Refused):
                        await registry.register(claims())
                        verdict = await attempt(registry, node)
                        assert isinstance(verdict, Claim)
                        granted.append(verdict)

                async def remove(turns: int = number % 5) -> None:
                    for _ in range(turns):  # another round trip later each time
                        await operator.find("demo")
                    assert await operator.remove("demo")

                await asyncio.gather(connect(), remove())
                lost = [ClaimLost(claim.connection_id, LossReason.REMOVED) for claim in granted]
                assert await registry.take_notices(node) == lost
                assert await registry.held_by(node) == {}
                assert await registry.find("demo") is None
