"""What a registry promises of clients."""

import asyncio

import pytest

from services.experience_api.refusals import CLIENT_DISABLED, WRONG_CREDENTIALS, Refused
from services.experience_api.registry.notices import Lost, Why
from services.experience_api.registry.protocol import Client, Node, Registry
from services.experience_api.registry.tokens import SigningKey
from tests.contracts.registry.deployment import Deployment, RegistryFixtures, claimed, claims, listening, wish


class ClientsContract(RegistryFixtures):
    async def test_a_client_is_found_as_it_was_added(self, registry: Registry) -> None:
        client = Client(
            "shop", "scrypt$1", ("a.*", "b"), may_send=True, loopback_only=True, disabled=True, note="ürgent"
        )
        assert await registry.add(client)
        assert await registry.find("shop") == client

    async def test_an_unknown_client_is_none(self, registry: Registry) -> None:
        assert await registry.find("nobody") is None

    async def test_an_id_that_is_taken_stays_whose_it_is(self, registry: Registry) -> None:
        assert not await registry.add(Client("demo", "other"))
        found = await registry.find("demo")
        assert found is not None
        assert found.secret_hash == "sha256$x$y"

    async def test_all_clients_are_listed_by_id(self, registry: Registry) -> None:
        for name in ("zoo", "ape"):
            await registry.add(Client(name, "x"))
        assert [client.client_id for client in await registry.all()] == ["ape", "demo", "zoo"]

    async def test_disabling_and_enabling_say_whether_there_is_such_a_client(self, registry: Registry) -> None:
        assert await registry.disable("demo")
        assert await registry.enable("demo")
        assert not await registry.disable("nobody")
        assert not await registry.enable("nobody")

    async def test_a_disabled_client_can_neither_register_nor_connect(self, registry: Registry, node: Node) -> None:
        await registry.register(claims())
        await registry.disable("demo")
        with pytest.raises(Refused) as registering:
            await registry.register(claims(token="second"))
        with pytest.raises(Refused) as connecting:
            await registry.claim(wish(node))
        assert registering.value.refusal is WRONG_CREDENTIALS
        assert connecting.value.refusal is CLIENT_DISABLED

    async def test_a_client_that_is_enabled_again_connects_with_the_token_it_has(
        self, registry: Registry, node: Node
    ) -> None:
        await registry.register(claims())
        await registry.disable("demo")
        await registry.enable("demo")
        await claimed(registry, wish(node))

    async def test_the_connection_of_a_client_that_is_disabled_is_told(self, registry: Registry, node: Node) -> None:
        await registry.register(claims())
        claim = await claimed(registry, wish(node))
        async with listening(registry) as ear:
            await registry.disable("demo")
            await ear.heard(Lost(claim.connection_id, Why.DISABLED))
        assert await registry.held_by(node) == {}

    async def test_replicas_that_start_together_share_one_key(self, deployment: Deployment) -> None:
        async with deployment.connect() as one, deployment.connect() as other:
            keys = await asyncio.gather(
                *(
                    replica.signing_key(SigningKey(f"{number}", b"%d" % number * 32))
                    for number, replica in enumerate([one, other] * 4)
                )
            )
            assert len({key.secret for key in keys}) == 1
            assert len({key.id for key in keys}) == 1
            assert await one.signing_key(SigningKey("late", b"x" * 32)) == keys[0]
