"""The guarantees of a registry about the one connection of each consumer."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from services.experience_api.refusals import LOOPBACK_ONLY, UNAVAILABLE, Refused
from services.experience_api.registry.clients import Client, ClientChange, Policy
from services.experience_api.registry.notices import ClaimLost, LossReason
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
    listening,
    refusal_of,
    released,
)


class ClaimsContract(RegistryFixtures):
    @pytest.fixture(autouse=True)
    async def _registered(self, registry: Registry) -> None:
        await registry.register(claims())

    async def test_a_claim_has_the_permissions_of_the_client(self, registry: Registry, node: Node) -> None:
        connection_id = uuid.uuid4()
        granted = await attempt(registry, node, connection_id=connection_id)
        assert granted == Claim("demo", connection_id, 1, ("orders.**",), may_send=True)

    async def test_a_live_claim_excludes_every_other(self, registry: Registry, node: Node, other: Node) -> None:
        first = await claimed(registry, node)
        assert await held(registry, node) == Held(first.connection_id, "one")
        assert await held(registry, other) == Held(first.connection_id, "one")

    async def test_a_refused_claim_is_told_of_the_holder(self, registry: Registry, node: Node) -> None:
        before = datetime.now(UTC) - timedelta(seconds=60)
        await claimed(registry, node)
        await registry.change("demo", ClientChange(policy=Policy.REJECT))
        found = await held(registry, node)
        assert (found.remote, found.policy) == ("192.0.2.1", Policy.REJECT)
        assert found.since is not None
        assert before < found.since < before + timedelta(seconds=120)

    async def test_clients_do_not_affect_each_other(self, registry: Registry, node: Node) -> None:
        await registry.add(Client("shop", "x"))
        await registry.register(claims("shop", "its own"))
        await claimed(registry, node)
        await claimed(registry, node, "shop", "its own")
        assert sorted((await registry.held_by(node)).values()) == ["demo", "shop"]

    async def test_a_released_claim_is_free(self, registry: Registry, node: Node, other: Node) -> None:
        claim = await claimed(registry, node)
        await released(registry, claim)
        await released(registry, claim)
        await claimed(registry, other)

    async def test_a_late_release_changes_nothing(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node
    ) -> None:
        old = await claimed(registry, node)
        await dies(deployment, node)
        new = await claimed(registry, other)
        await released(registry, old)
        assert await registry.held_by(other) == {new.connection_id: "demo"}

    async def test_the_claims_of_a_dead_node_are_free(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node
    ) -> None:
        first = await claimed(registry, node)
        await dies(deployment, node)
        second = await claimed(registry, other)
        assert second.epoch > first.epoch

    async def test_the_claims_of_an_earlier_epoch_of_a_node_are_free(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        await claimed(registry, node)
        again = await alive(deployment, node.name)
        await claimed(registry, again)

    async def test_a_node_without_its_lease_claims_nothing(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        await dies(deployment, node)
        assert await refusal_of(registry, node) is UNAVAILABLE
        assert await refusal_of(registry, Node("unknown", 1)) is UNAVAILABLE
        assert await registry.held_by(node) == {}

    async def test_a_holder_known_not_to_answer_is_displaced_and_notified(
        self, registry: Registry, node: Node, other: Node
    ) -> None:
        silent = await claimed(registry, node)
        async with listening(registry) as received:
            taken = await attempt(registry, other, instead_of=silent.connection_id)
            await received.wait_for(ClaimLost(silent.connection_id, LossReason.TAKEN_OVER))
        assert isinstance(taken, Claim)
        assert await registry.held_by(node) == {}
        assert await registry.held_by(other) == {taken.connection_id: "demo"}

    async def test_only_the_named_holder_is_displaced(self, registry: Registry, node: Node) -> None:
        first = await claimed(registry, node)
        verdict = await attempt(registry, node, instead_of=uuid.uuid4())
        assert verdict == Held(first.connection_id, "one")

    async def test_displacing_a_released_holder_sends_no_notice(self, registry: Registry, node: Node) -> None:
        first = await claimed(registry, node)
        await released(registry, first)
        async with listening(registry) as received:
            assert isinstance(await attempt(registry, node, instead_of=first.connection_id), Claim)
        assert received.notices == [None]

    async def test_exactly_one_of_many_concurrent_claims_on_two_replicas_succeeds(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node
    ) -> None:
        async with deployment.connect() as second:
            for _ in range(25):
                tries = [(registry, node), (second, other)] * 4
                verdicts = await asyncio.gather(*(attempt(replica, where) for replica, where in tries))
                won = [verdict for verdict in verdicts if isinstance(verdict, Claim)]
                assert len(won) == 1
                assert {verdict.connection_id for verdict in verdicts} == {won[0].connection_id}
                await released(registry, won[0])

    async def test_exactly_one_of_many_claims_that_displace_a_holder_succeeds(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node
    ) -> None:
        async with deployment.connect() as second:
            holder = await claimed(registry, node)
            for _ in range(25):
                tries = [(registry, node), (second, other)] * 3
                verdicts = await asyncio.gather(
                    *(attempt(replica, where, instead_of=holder.connection_id) for replica, where in tries)
                )
                (holder,) = [verdict for verdict in verdicts if isinstance(verdict, Claim)]

    async def test_a_client_is_connected_from_its_claim_to_its_release(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node
    ) -> None:
        assert await registry.at_limit([]) == await registry.at_limit(["demo", "unknown"]) == set()
        claim = await claimed(registry, node)
        assert await registry.at_limit(["demo", "unknown"]) == {"demo"}
        assert await registry.at_limit(["unknown"]) == set()
        await released(registry, claim)
        assert await registry.at_limit(["demo"]) == set()
        await claimed(registry, other)
        await dies(deployment, other)
        assert await registry.at_limit(["demo"]) == set()

    async def test_the_holder_of_a_connection_is_found(self, registry: Registry, node: Node) -> None:
        claim = await claimed(registry, node)
        assert await registry.holder("demo", claim.connection_id) == node.name
        assert await registry.holder("demo", uuid.uuid4()) is None
        assert await registry.holder("shop", claim.connection_id) is None

    async def test_concurrent_claims_and_releases_never_deadlock(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node
    ) -> None:
        """Nor do concurrent registrations, removals and disabling: PostgreSQL would report a deadlock as an error."""
        async with deployment.connect() as second:

            async def claim_and_release(replica: Registry, where: Node) -> None:
                for _ in range(15):
                    try:
                        verdict = await attempt(replica, where)
                    except Refused:
                        continue
                    if isinstance(verdict, Claim):
                        await released(replica, verdict)

            async def administer() -> None:
                for _ in range(15):
                    await registry.disable("demo")
                    await second.release_dead()
                    await registry.enable("demo")
                    await registry.unregister("demo")
                    await registry.register(claims())

            await asyncio.gather(
                *(claim_and_release(registry, node) for _ in range(3)),
                *(claim_and_release(second, other) for _ in range(3)),
                administer(),
            )

    async def test_releasing_dead_claims_releases_no_others(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node
    ) -> None:
        await registry.add(Client("shop", "x"))
        await registry.register(claims("shop", "its own"))
        await claimed(registry, node)
        await claimed(registry, other, "shop", "its own")
        await dies(deployment, node)
        assert await registry.release_dead() == 1
        assert await registry.release_dead() == 0
        assert await registry.held_by(node) == {}
        assert list((await registry.held_by(other)).values()) == ["shop"]

    async def test_the_claims_of_a_node_that_may_come_back_are_kept_for_a_while(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        claim = await claimed(registry, node)
        await dies(deployment, node)
        assert await registry.release_dead(after=600) == 0
        assert list(await registry.held_by(node)) == [claim.connection_id]
        assert await deployment.leases.revive(f"node/{node.name}", node.name, node.epoch, 600)
        assert await registry.release_dead() == 0
        await dies(deployment, node)
        await deployment.pass_days(1)
        assert await registry.release_dead(after=600) == 1

    async def test_a_claim_names_the_connection_that_it_displaces(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node
    ) -> None:
        first = await claimed(registry, node)
        assert first.displaced is None
        second = await attempt(registry, other, instead_of=first.connection_id)
        assert isinstance(second, Claim)
        assert second.displaced == Held(first.connection_id, node.name)
        await dies(deployment, other)
        third = await claimed(registry, node)
        assert third.displaced == Held(second.connection_id, other.name)
        await released(registry, third)
        assert (await claimed(registry, node)).displaced is None

    async def test_a_loopback_only_client_connects_from_the_loopback_only(self, registry: Registry, node: Node) -> None:
        await registry.add(Client("local", "x", loopback_only=True))
        await registry.register(claims("local", "its own"))
        assert await refusal_of(registry, node, "local", "its own", loopback=False) is LOOPBACK_ONLY
        await claimed(registry, node, "local", "its own", loopback=True)
