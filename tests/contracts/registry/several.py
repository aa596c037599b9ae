"""The guarantees of a registry about clients that may have several connections."""

import asyncio

import pytest

from services.experience_api.registry.clients import ClientChange, Policy
from services.experience_api.registry.notices import ClaimLost, GrantChanged, LossReason
from services.experience_api.registry.protocol import Claim, Held, Node, Registry
from tests.contracts.registry.deployment import (
    Deployment,
    RegistryFixtures,
    alive,
    attempt,
    claimed,
    claims,
    dies,
    held,
    released,
)

LIMIT = 3


async def several(registry: Registry, limit: int = LIMIT) -> None:
    """Register a client that may have several connections."""
    assert await registry.change("demo", ClientChange(max_connections=limit))
    await registry.register(claims())


class SeveralContract(RegistryFixtures):
    async def test_a_client_has_as_many_connections_as_it_may(
        self, registry: Registry, node: Node, other: Node
    ) -> None:
        await several(registry)
        granted = [await claimed(registry, each) for each in (node, other, node)]
        assert {claim.max_connections for claim in granted} == {LIMIT}
        refused = await held(registry, other)
        assert refused.connection_id == granted[0].connection_id
        assert [each.connection_id for each in refused.others] == [claim.connection_id for claim in granted[1:]]
        assert refused.max_connections == LIMIT
        assert await registry.held_by(node) == {claim.connection_id: "demo" for claim in (granted[0], granted[2])}
        assert await registry.holder("demo", granted[1].connection_id) == other.name
        assert await registry.at_limit(["demo"]) == {"demo"}
        assert [len(each.connections) for each in await registry.consumers()] == [LIMIT]
        for claim in granted:
            await released(registry, claim)
            assert await registry.at_limit(["demo"]) == set()
            _ = await claimed(registry, other)
        assert await registry.held_by(node) == {}

    async def test_of_concurrent_claims_exactly_as_many_succeed_as_the_client_may_have(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node
    ) -> None:
        await several(registry)
        async with deployment.connect() as second:
            for _ in range(5):
                replicas = [(registry, node), (second, other)] * LIMIT
                verdicts = await asyncio.gather(*(attempt(each, on) for each, on in replicas))
                granted = [verdict for verdict in verdicts if isinstance(verdict, Claim)]
                assert len(granted) == LIMIT
                assert all(len(verdict.others) == LIMIT - 1 for verdict in verdicts if isinstance(verdict, Held))
                assert len(await registry.held_by(node)) + len(await registry.held_by(other)) == LIMIT
                await asyncio.gather(*(released(registry, claim) for claim in granted))

    @pytest.mark.parametrize("number", range(2))
    async def test_any_of_them_is_displaced_and_notified(
        self, registry: Registry, node: Node, other: Node, number: int
    ) -> None:
        await several(registry, 2)
        granted = [await claimed(registry, node) for _ in range(2)]
        silent = granted[number]
        verdict = await attempt(registry, other, instead_of=silent.connection_id)
        assert isinstance(verdict, Claim)
        assert verdict.displaced is not None
        assert verdict.displaced.connection_id == silent.connection_id
        assert await registry.take_notices(node) == [ClaimLost(silent.connection_id, LossReason.TAKEN_OVER)]
        assert isinstance(await attempt(registry, other, instead_of=silent.connection_id), Held)
        assert await registry.held_by(node) == {granted[1 - number].connection_id: "demo"}

    async def test_all_of_them_are_told_of_changed_channels_and_lost_with_the_token(
        self, registry: Registry, node: Node
    ) -> None:
        await several(registry)
        granted = [await claimed(registry, node) for _ in range(LIMIT)]
        await registry.change("demo", ClientChange(channels=("a",)))
        told = await registry.take_notices(node)
        ids = sorted(claim.connection_id for claim in granted)
        assert all(isinstance(notice, GrantChanged) for notice in told)
        assert sorted(notice.connection_id for notice in told if isinstance(notice, GrantChanged)) == ids
        await registry.unregister("demo")
        lost = await registry.take_notices(node)
        assert sorted(notice.connection_id for notice in lost if isinstance(notice, ClaimLost)) == ids
        assert await registry.held_by(node) == {}

    async def test_any_of_them_is_disconnected_alone(self, registry: Registry, node: Node) -> None:
        await several(registry)
        granted = [await claimed(registry, node) for _ in range(LIMIT)]
        for claim in granted:
            assert await registry.disconnect(claim.connection_id) == "demo"
            assert await registry.take_notices(node) == [ClaimLost(claim.connection_id, LossReason.DISCONNECTED)]
        assert await registry.held_by(node) == {}

    async def test_the_claims_of_a_dead_node_do_not_count_and_are_released(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node
    ) -> None:
        await several(registry)
        for each in (node, other, other):
            await claimed(registry, each)
        await dies(deployment, other)
        third = await alive(deployment, "three")
        await claimed(registry, third)
        assert await registry.at_limit(["demo"]) == set()
        assert await registry.release_dead() == 1
        await claimed(registry, third)
        assert isinstance(await attempt(registry, third), Held)

    @pytest.mark.parametrize("policy", Policy)
    @pytest.mark.parametrize("limit", [1, 2])
    async def test_a_lower_limit_ends_the_connections_that_are_too_many(
        self, registry: Registry, node: Node, other: Node, limit: int, policy: Policy
    ) -> None:
        """Those stay that the policy would have let stay: the oldest, or the newest where that one replaces."""
        await several(registry)
        granted = [await claimed(registry, each) for each in (node, other, node)]
        await registry.change("demo", ClientChange(max_connections=limit, policy=policy))
        stay, end = granted[:limit], granted[limit:]
        if policy is Policy.REPLACE:
            stay, end = granted[-limit:], granted[:-limit]
        told = [*await registry.take_notices(node), *await registry.take_notices(other)]
        assert {notice.connection_id for notice in told if isinstance(notice, ClaimLost)} == {
            claim.connection_id for claim in end
        }
        assert {notice.reason for notice in told if isinstance(notice, ClaimLost)} == {LossReason.DISCONNECTED}
        assert {**await registry.held_by(node), **await registry.held_by(other)} == {
            claim.connection_id: "demo" for claim in stay
        }
        for claim in stay:
            assert isinstance(await attempt(registry, node), Held)
            await released(registry, claim)
            await claimed(registry, node)

    async def test_a_limit_that_is_not_exceeded_ends_no_connection(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node
    ) -> None:
        await several(registry)
        for each in (node, node, other):
            await claimed(registry, each)
        await dies(deployment, other)
        await registry.change("demo", ClientChange(max_connections=2))
        await registry.change("demo", ClientChange(max_connections=LIMIT + 1))
        assert await registry.take_notices(node) == []

    async def test_a_lower_limit_and_other_channels_change_together(self, registry: Registry, node: Node) -> None:
        await several(registry)
        first, *_ = [await claimed(registry, node) for _ in range(LIMIT)]
        await registry.change("demo", ClientChange(max_connections=1, channels=("a",)))
        told = await registry.take_notices(node)
        assert [notice.connection_id for notice in told if isinstance(notice, GrantChanged)] == [first.connection_id]
        await registry.change("demo", ClientChange(max_connections=LIMIT))
        for _ in range(LIMIT - 1):
            await claimed(registry, node)
        await registry.change("demo", ClientChange(max_connections=1, may_send=False))
        lost = await registry.take_notices(node)
        assert [type(notice) for notice in lost] == [ClaimLost] * LIMIT
