"""The guarantees of a registry about consumers."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from services.experience_api.refusals import TOKEN_REFUSED, WRONG_CREDENTIALS, Refused
from services.experience_api.registry.clients import Client, Connected
from services.experience_api.registry.notices import ClaimLost, LossReason
from services.experience_api.registry.protocol import Claim, Node, Registry
from tests.contracts.registry.deployment import (
    DAYS,
    Deployment,
    RegistryFixtures,
    attempt,
    claimed,
    claims,
    dies,
    listening,
    released,
)

MINUTE = timedelta(minutes=1)
OVERLAP = 3600.0
"""Seconds."""


async def refused_token(registry: Registry, node: Node, token: str = "first") -> bool:
    try:
        await attempt(registry, node, token=token)
    except Refused as exc:
        return exc.refusal is TOKEN_REFUSED
    return False


class TicketsContract(RegistryFixtures):
    async def test_a_ticket_can_be_used_once(self, registry: Registry) -> None:
        expires = await registry.time() + 600
        used = await asyncio.gather(*(registry.use_ticket(b"one", expires) for _ in range(5)))
        assert sorted(used) == [False, False, False, False, True]
        assert await registry.use_ticket(b"two", expires)
        assert not await registry.use_ticket(b"two", expires)

    async def test_an_expired_ticket_cannot_be_used(self, registry: Registry) -> None:
        now = await registry.time()
        assert not await registry.use_ticket(b"one", now)
        assert not await registry.use_ticket(b"two", 0.0)
        assert await registry.use_ticket(b"one", now + 600)


class ConsumersContract(RegistryFixtures):
    async def test_a_registered_client_may_connect(self, registry: Registry, node: Node) -> None:
        assert await refused_token(registry, node)
        await registry.register(claims())
        await claimed(registry, node)

    async def test_an_unknown_client_cannot_register(self, registry: Registry) -> None:
        with pytest.raises(Refused) as refused:
            await registry.register(claims("unknown"))
        assert refused.value.refusal is WRONG_CREDENTIALS

    async def test_a_client_whose_secret_was_replaced_meanwhile_cannot_register(
        self, registry: Registry, node: Node
    ) -> None:
        found = await registry.find("demo")
        assert found is not None
        await registry.register(claims(), secret_hash=found.secret_hash)
        assert await registry.rotate("demo", "another", OVERLAP)
        with pytest.raises(Refused) as refused:
            await registry.register(claims(token="second"), secret_hash=found.secret_hash)
        assert refused.value.refusal is WRONG_CREDENTIALS
        assert await refused_token(registry, node, "second")
        await registry.register(claims(token="third"), secret_hash="another")
        await claimed(registry, node, token="third")

    async def test_a_new_registration_replaces_the_token(self, registry: Registry, node: Node) -> None:
        await registry.register(claims())
        await registry.register(claims(token="second"))
        assert await refused_token(registry, node, "first")
        await claimed(registry, node, token="second")

    async def test_a_connection_with_a_replaced_token_is_notified_and_its_claim_free(
        self, registry: Registry, node: Node, other: Node
    ) -> None:
        await registry.register(claims())
        old = await claimed(registry, node)
        async with listening(registry) as received:
            await registry.register(claims(token="second"))
            await received.wait_for(ClaimLost(old.connection_id, LossReason.REPLACED))
        await claimed(registry, other, token="second")

    async def test_a_late_release_of_a_lost_connection_does_not_affect_the_next_one(
        self, registry: Registry, node: Node
    ) -> None:
        await registry.register(claims())
        old = await claimed(registry, node)
        await registry.register(claims(token="second"))
        new = await claimed(registry, node, token="second")
        await released(registry, old)
        assert await registry.held_by(node) == {new.connection_id: "demo"}

    async def test_the_token_of_an_unregistered_consumer_is_refused(self, registry: Registry, node: Node) -> None:
        await registry.register(claims())
        assert await registry.unregister("demo")
        assert await refused_token(registry, node)
        assert not await registry.unregister("demo")
        assert not await registry.unregister("unknown")

    async def test_the_connection_of_an_unregistered_consumer_is_notified(self, registry: Registry, node: Node) -> None:
        await registry.register(claims())
        claim = await claimed(registry, node)
        async with listening(registry) as received:
            await registry.unregister("demo")
            await received.wait_for(ClaimLost(claim.connection_id, LossReason.REMOVED))
        await released(registry, claim)
        assert await registry.held_by(node) == {}

    async def test_no_notice_is_sent_without_a_connection(self, registry: Registry) -> None:
        await registry.register(claims())
        await registry.add(Client("last", "x"))
        async with listening(registry) as received:
            await registry.register(claims(token="second"))
            await registry.unregister("demo")
            await registry.disable("demo")
        assert received.notices == [None]

    async def test_a_replaced_token_remains_valid_for_the_overlap(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        await registry.register(claims())
        await registry.register(claims(token="second"), OVERLAP)
        for token in ("first", "second"):
            assert await registry.invalid([claims(token=token)], DAYS) == {}
            await released(registry, await claimed(registry, node, token=token))
        await deployment.pass_days(1)
        assert await refused_token(registry, node, "first")
        assert await registry.invalid([claims()], DAYS) == {claims(): TOKEN_REFUSED}
        await claimed(registry, node, token="second")

    async def test_the_connection_of_a_replaced_token_ends_with_the_overlap(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        await registry.register(claims())
        before = await claimed(registry, node)
        await registry.register(claims(token="second"), OVERLAP)
        assert await registry.end_overlaps() == 0
        assert list(await registry.held_by(node)) == [before.connection_id]
        await deployment.pass_days(1)
        async with listening(registry) as received:
            assert await registry.end_overlaps() == 1
            await received.wait_for(ClaimLost(before.connection_id, LossReason.REPLACED))
        assert await registry.end_overlaps() == 0
        assert await registry.held_by(node) == {}

    async def test_the_connection_of_the_new_token_does_not_end_with_the_overlap(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        await registry.register(claims())
        await registry.register(claims(token="second"), OVERLAP)
        claim = await claimed(registry, node, token="second")
        await deployment.pass_days(1)
        assert await registry.end_overlaps() == 1
        assert list(await registry.held_by(node)) == [claim.connection_id]

    async def test_only_the_latest_token_overlaps_a_new_one(self, registry: Registry, node: Node) -> None:
        await registry.register(claims())
        first = await claimed(registry, node)
        await registry.register(claims(token="second"), OVERLAP)
        async with listening(registry) as received:
            await registry.register(claims(token="third"), OVERLAP)
            await received.wait_for(ClaimLost(first.connection_id, LossReason.REPLACED))
        assert await refused_token(registry, node, "first")
        await released(registry, await claimed(registry, node, token="second"))
        await registry.register(claims(token="fourth"))
        assert await refused_token(registry, node, "third")

    async def test_neither_token_of_an_overlap_outlives_the_consumer(self, registry: Registry, node: Node) -> None:
        await registry.register(claims())
        await registry.register(claims(token="second"), OVERLAP)
        claim = await claimed(registry, node)
        async with listening(registry) as received:
            assert await registry.unregister("demo")
            await received.wait_for(ClaimLost(claim.connection_id, LossReason.REMOVED))
        assert await refused_token(registry, node, "first")
        assert await refused_token(registry, node, "second")

    async def test_registering_and_connecting_concurrently_keeps_the_new_token_only(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        """In either order the connection with the old token is refused or notified."""
        async with deployment.connect() as second, listening(second) as received:
            for number in range(20):
                old, new = f"token {number}", f"token {number + 1}"
                await registry.register(claims(token=old))
                verdict, _ = await asyncio.gather(
                    attempt(registry, node, token=old),
                    second.register(claims(token=new)),
                    return_exceptions=True,
                )
                if isinstance(verdict, Claim):
                    await received.wait_for(ClaimLost(verdict.connection_id, LossReason.REPLACED))
                else:
                    assert isinstance(verdict, Refused)
                assert await registry.held_by(node) == {}

    async def test_consumers_are_listed_with_their_living_connections(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node
    ) -> None:
        for name in ("ape", "cat", "zoo"):
            await registry.add(Client(name, "x"))
            await registry.register(claims(name, name))
        claim, dead = await claimed(registry, node, "ape", "ape"), await claimed(registry, other, "zoo", "zoo")
        assert dead.client_id == "zoo"
        await dies(deployment, other)
        found = await registry.consumers()
        living = Connected(claim.connection_id, node.name, "192.0.2.1", datetime.now(UTC))
        assert [(each.client_id, each.connections) for each in found] == [("ape", (living,)), ("cat", ()), ("zoo", ())]
        now = datetime.now(UTC)
        assert all(abs(each.registered_at - now) < MINUTE and abs(each.last_seen_at - now) < MINUTE for each in found)
        assert [each.client_id for each in await registry.consumers("ape", 1)] == ["cat"]
        assert [each.client_id for each in await registry.consumers(client_id="zoo")] == ["zoo"]
        assert await registry.consumers(client_id="demo") == []  # it has not registered

    async def test_a_consumer_whose_replica_has_died_was_last_seen_then(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        await registry.register(claims())
        await claimed(registry, node)
        await deployment.pass_days(3 * DAYS)
        await dies(deployment, node)
        await deployment.pass_days(1)
        [found] = await registry.consumers()
        assert found.connections == ()
        assert abs(datetime.now(UTC) - found.last_seen_at - timedelta(days=1)) < MINUTE

    async def test_a_disconnected_connection_is_notified_and_its_claim_free(
        self, registry: Registry, node: Node, other: Node
    ) -> None:
        await registry.register(claims())
        claim = await claimed(registry, node)
        async with listening(registry) as received:
            assert await registry.disconnect(claim.connection_id) == "demo"
            await received.wait_for(ClaimLost(claim.connection_id, LossReason.DISCONNECTED))
        assert await registry.take_notices(node) == [ClaimLost(claim.connection_id, LossReason.DISCONNECTED)]
        assert await registry.disconnect(claim.connection_id) is None
        await claimed(registry, other)
        assert await registry.disconnect(claim.connection_id) is None
