"""What a registry promises of consumers."""

import asyncio

import pytest

from services.experience_api.refusals import TOKEN_REFUSED, WRONG_CREDENTIALS, Refused
from services.experience_api.registry.notices import Lost, Why
from services.experience_api.registry.protocol import Claim, Client, Node, Registry
from tests.contracts.registry.deployment import Deployment, RegistryFixtures, claimed, claims, listening, released, wish


async def refused_token(registry: Registry, node: Node, token: str = "first") -> bool:
    try:
        await registry.claim(wish(node, token=token))
    except Refused as exc:
        return exc.refusal is TOKEN_REFUSED
    return False


class ConsumersContract(RegistryFixtures):
    async def test_whoever_registered_may_connect(self, registry: Registry, node: Node) -> None:
        assert await refused_token(registry, node)
        await registry.register(claims())
        await claimed(registry, wish(node))

    async def test_an_unknown_client_cannot_register(self, registry: Registry) -> None:
        with pytest.raises(Refused) as refused:
            await registry.register(claims("nobody"))
        assert refused.value.refusal is WRONG_CREDENTIALS

    async def test_a_new_registration_replaces_the_token(self, registry: Registry, node: Node) -> None:
        await registry.register(claims())
        await registry.register(claims(token="second"))
        assert await refused_token(registry, node, "first")
        await claimed(registry, wish(node, token="second"))

    async def test_a_connection_with_a_replaced_token_is_told_and_makes_room(
        self, registry: Registry, node: Node, other: Node
    ) -> None:
        await registry.register(claims())
        old = await claimed(registry, wish(node))
        async with listening(registry) as ear:
            await registry.register(claims(token="second"))
            await ear.heard(Lost(old.connection_id, Why.REPLACED))
        await claimed(registry, wish(other, token="second"))

    async def test_what_a_lost_connection_releases_late_is_not_its_successors(
        self, registry: Registry, node: Node
    ) -> None:
        await registry.register(claims())
        old = await claimed(registry, wish(node))
        await registry.register(claims(token="second"))
        new = await claimed(registry, wish(node, token="second"))
        await released(registry, old)
        assert await registry.held_by(node) == {new.connection_id: "demo"}

    async def test_a_forgotten_consumer_has_a_worthless_token(self, registry: Registry, node: Node) -> None:
        await registry.register(claims())
        assert await registry.forget("demo")
        assert await refused_token(registry, node)
        assert not await registry.forget("demo")
        assert not await registry.forget("nobody")

    async def test_the_connection_of_a_forgotten_consumer_is_told(self, registry: Registry, node: Node) -> None:
        await registry.register(claims())
        claim = await claimed(registry, wish(node))
        async with listening(registry) as ear:
            await registry.forget("demo")
            await ear.heard(Lost(claim.connection_id, Why.REMOVED))
        await released(registry, claim)
        assert await registry.held_by(node) == {}

    async def test_nobody_is_told_where_nobody_is_connected(self, registry: Registry) -> None:
        await registry.register(claims())
        await registry.add(Client("last", "x"))
        async with listening(registry) as ear:
            await registry.register(claims(token="second"))
            await registry.forget("demo")
            await registry.disable("demo")
        assert ear.notices == [None]

    async def test_registering_and_connecting_at_once_leaves_the_new_token_alone(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        """Whichever comes first: the old token's connection is refused, or it is told."""
        async with deployment.connect() as second, listening(second) as ear:
            for number in range(20):
                old, new = f"token {number}", f"token {number + 1}"
                await registry.register(claims(token=old))
                verdict, _ = await asyncio.gather(
                    registry.claim(wish(node, token=old)),
                    second.register(claims(token=new)),
                    return_exceptions=True,
                )
                if isinstance(verdict, Claim):
                    await ear.heard(Lost(verdict.connection_id, Why.REPLACED))
                else:
                    assert isinstance(verdict, Refused)
                assert await registry.held_by(node) == {}
