"""Statements that wait for the lock of a consumer act on its tokens as they are after the wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from services.experience_api.refusals import TOKEN_REFUSED, Refused
from services.experience_api.registry.clients import Client
from services.experience_api.registry.protocol import Claim, Node, Registry
from shared.database.options import DatabaseOptions
from shared.lease import PostgresLeaseStore
from shared.runtime.tasks import started
from tests.contracts.registry.deployment import DAYS, TIMEOUT, alive, attempt, claimed, claims, released
from tests.contracts.registry.test_postgres import PostgresDeployment

pytestmark = pytest.mark.every_postgres

_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


class Registration:
    """A registration that holds the lock of the consumer until it is to end."""

    def __init__(self, holding: asyncpg.Connection, watching: asyncpg.Connection) -> None:
        self._holding, self._watching = holding, watching

    async def begin(self) -> None:
        await self._holding.execute("BEGIN; SELECT FROM trelay.consumers FOR UPDATE")

    async def end(self, change: str, *arguments: object) -> None:
        """Change the tokens and commit, once another statement waits."""
        async with asyncio.timeout(TIMEOUT):
            while not await self._watching.fetchval(_WAITING):
                await asyncio.sleep(0.01)
        await self._holding.execute(f"UPDATE trelay.consumers SET {change}", *arguments)
        await self._holding.execute("COMMIT")


@asynccontextmanager
async def registered(options: DatabaseOptions) -> AsyncIterator[tuple[Registry, Node, Registration]]:
    """Register two instances of a client."""
    async with PostgresLeaseStore.opened(options) as store:
        deployment = PostgresDeployment(options, store)
        holding, watching = await asyncpg.connect(options.url), await asyncpg.connect(options.url)
        try:
            async with deployment.connect() as registry:
                await registry.add(Client("demo", "x", max_connections=3))
                for token in ("first", "second"):
                    await registry.register(claims(token=token))
                yield registry, await alive(deployment, "one"), Registration(holding, watching)
        finally:
            await holding.close()
            await watching.close()


def hexed(token: str) -> str:
    return claims(token=token).token_hash.hex()


async def test_a_claim_with_a_token_that_ends_meanwhile_is_refused(migrated_database: DatabaseOptions) -> None:
    async with registered(migrated_database) as (registry, node, registration):
        await registration.begin()
        claiming = started("claim", attempt(registry, node))
        await registration.end("tokens = tokens - $1::text", hexed("first"))
        with pytest.raises(Refused) as refused:
            await claiming
        assert refused.value.refusal is TOKEN_REFUSED


async def test_a_claim_with_a_token_that_is_the_newest_no_more_is_granted(migrated_database: DatabaseOptions) -> None:
    async with registered(migrated_database) as (registry, node, registration):
        await registration.begin()
        claiming = started("claim", attempt(registry, node, token="second"))
        third = claims(token="third")
        await registration.end(
            "token_hash = $1, tokens = tokens || jsonb_build_object($2::text, 0)", third.token_hash, hexed("third")
        )
        assert isinstance(await claiming, Claim)
        assert await registry.invalid([claims(token=name) for name in ("first", "second", "third")], DAYS) == {}


@pytest.mark.parametrize("how", ["release", "disconnect"])
async def test_a_connection_that_ends_leaves_a_token_that_is_added_meanwhile(
    migrated_database: DatabaseOptions, how: str
) -> None:
    async with registered(migrated_database) as (registry, node, registration):
        claim = await claimed(registry, node)
        await registration.begin()
        ends = released(registry, claim) if how == "release" else registry.disconnect(claim.connection_id)
        ending = started("end", ends)
        long_ago = f"tokens = jsonb_build_object('{hexed('first')}', 0, '{hexed('second')}', 0, $1::text, 0)"
        await registration.end(f"token_hash = $2, {long_ago}", hexed("third"), claims(token="third").token_hash)
        await ending
        assert await registry.held_by(node) == {}
        # The first was used at the end of its connection, and the newest counts as used with it.
        names = ("first", "second", "third")
        invalid = await registry.invalid([claims(token=name) for name in names], DAYS)
        assert [each for each in names if claims(token=each) not in invalid] == ["first", "third"]
