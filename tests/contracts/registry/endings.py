"""The guarantees of a registry about how the last connection of a client ended."""

from datetime import UTC, datetime, timedelta

from services.experience_api.registry.clients import NO_CLOSE_FRAME, REPLICA_LOST, ClientChange, Ending
from services.experience_api.registry.protocol import Node, Registry
from tests.contracts.registry.deployment import (
    Deployment,
    RegistryFixtures,
    alive,
    claimed,
    claims,
    dies,
    released,
)

NO_PONG = Ending(4002, "no pong", 12.5)
REPLACED = Ending(4501, "replaced by a new registration", 3.0)
MINUTE = timedelta(minutes=1)


async def last(registry: Registry) -> Ending | None:
    """Return the last ending of `demo`, which its client and its consumer both have."""
    (consumer,) = await registry.consumers(client_id="demo")
    client = await registry.find("demo")
    assert client is not None
    assert client.last_ending == consumer.last_ending == (await registry.page())[0].last_ending
    assert consumer.last_ending is None or consumer.last_ending.at is not None
    if consumer.last_ending is not None and consumer.last_ending.at is not None:
        assert abs(consumer.last_ending.at - datetime.now(UTC)) < MINUTE
    return consumer.last_ending


class EndingsContract(RegistryFixtures):
    async def test_a_release_stores_how_the_connection_ended(self, registry: Registry, node: Node) -> None:
        await registry.register(claims())
        assert await last(registry) is None
        claim = await claimed(registry, node)
        assert await last(registry) is None
        await registry.release("demo", claim.connection_id, NO_PONG)
        assert await last(registry) == NO_PONG
        claim = await claimed(registry, node)
        assert await last(registry) == NO_PONG
        await released(registry, claim)
        assert await last(registry) == NO_PONG, "a release without an ending changes nothing"

    async def test_a_connection_that_has_lost_its_claim_stores_its_ending(self, registry: Registry, node: Node) -> None:
        await registry.register(claims())
        old = await claimed(registry, node)
        await registry.register(claims(token="second"))
        await registry.release("demo", old.connection_id, NO_PONG)
        assert await last(registry) is None
        await registry.note_ending("demo", REPLACED)
        assert await last(registry) == REPLACED
        await registry.note_ending("unknown", REPLACED)

    async def test_an_ending_outlives_a_new_registration_and_not_the_consumer(self, registry: Registry) -> None:
        await registry.register(claims())
        await registry.note_ending("demo", REPLACED)
        await registry.register(claims(token="second"))
        assert await last(registry) == REPLACED
        await registry.unregister("demo")
        client = await registry.find("demo")
        assert client is not None
        assert client.last_ending is None
        await registry.register(claims())
        assert await last(registry) is None

    async def test_the_connection_of_a_dead_node_has_ended_when_another_takes_its_claim(
        self, registry: Registry, node: Node, other: Node, deployment: Deployment
    ) -> None:
        await registry.register(claims())
        await claimed(registry, node)
        await dies(deployment, node)
        await claimed(registry, other)
        await self._check_replica_lost(registry)

    async def test_the_connection_of_a_dead_node_has_ended_when_its_claim_is_released(
        self, registry: Registry, node: Node, deployment: Deployment
    ) -> None:
        await registry.register(claims())
        await claimed(registry, node)
        await dies(deployment, node)
        assert await registry.release_dead() == 1
        await self._check_replica_lost(registry)

    async def test_a_restarted_node_has_lost_its_connections(
        self, registry: Registry, node: Node, deployment: Deployment
    ) -> None:
        await registry.register(claims())
        await claimed(registry, node)
        await dies(deployment, node)
        await claimed(registry, await alive(deployment, node.name))
        await self._check_replica_lost(registry)

    async def test_of_several_connections_the_last_ending_counts(self, registry: Registry, node: Node) -> None:
        assert await registry.change("demo", ClientChange(max_connections=2))
        await registry.register(claims())
        first, second = await claimed(registry, node), await claimed(registry, node)
        await registry.release("demo", second.connection_id, NO_PONG)
        assert await last(registry) == NO_PONG
        await registry.release("demo", first.connection_id, REPLACED)
        assert await last(registry) == REPLACED

    async def _check_replica_lost(self, registry: Registry) -> None:
        ending = await last(registry)
        assert ending is not None
        assert (ending.code, ending.reason) == (NO_CLOSE_FRAME, REPLICA_LOST)
        assert 0 <= ending.lasted < MINUTE.total_seconds()
