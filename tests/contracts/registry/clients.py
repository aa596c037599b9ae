"""The guarantees of a registry about clients."""

import asyncio

import pytest

from services.experience_api.refusals import CLIENT_DISABLED, WRONG_CREDENTIALS, Refused
from services.experience_api.registry.notices import ClaimLost, GrantChanged, Look, LossReason
from services.experience_api.registry.protocol import Client, Node, Policy, Registry
from services.experience_api.registry.tokens import SigningKey
from tests.contracts.registry.deployment import Deployment, RegistryFixtures, attempt, claimed, claims, listening


class ClientsContract(RegistryFixtures):
    async def test_a_client_is_found_as_it_was_added(self, registry: Registry) -> None:
        client = Client(
            "shop",
            "scrypt$1",
            ("a.*", "b"),
            may_send=True,
            loopback_only=True,
            disabled=True,
            note="ürgent",
            policy=Policy.REJECT,
        )
        assert await registry.add(client)
        assert await registry.find("shop") == client

    async def test_an_unknown_client_is_none(self, registry: Registry) -> None:
        assert await registry.find("unknown") is None

    async def test_an_existing_id_is_not_overwritten(self, registry: Registry) -> None:
        assert not await registry.add(Client("demo", "other"))
        found = await registry.find("demo")
        assert found is not None
        assert found.secret_hash == "sha256$x$y"

    async def test_all_clients_are_listed_by_id(self, registry: Registry) -> None:
        for name in ("zoo", "ape"):
            await registry.add(Client(name, "x"))
        assert [client.client_id for client in await registry.all()] == ["ape", "demo", "zoo"]

    async def test_disabling_and_enabling_return_whether_the_client_exists(self, registry: Registry) -> None:
        assert await registry.disable("demo")
        assert await registry.enable("demo")
        assert not await registry.disable("unknown")
        assert not await registry.enable("unknown")

    async def test_a_disabled_client_can_neither_register_nor_connect(self, registry: Registry, node: Node) -> None:
        await registry.register(claims())
        await registry.disable("demo")
        with pytest.raises(Refused) as registering:
            await registry.register(claims(token="second"))
        with pytest.raises(Refused) as connecting:
            await attempt(registry, node)
        assert registering.value.refusal is WRONG_CREDENTIALS
        assert connecting.value.refusal is CLIENT_DISABLED

    async def test_an_enabled_client_connects_with_its_previous_token(self, registry: Registry, node: Node) -> None:
        await registry.register(claims())
        await registry.disable("demo")
        await registry.enable("demo")
        await claimed(registry, node)

    async def test_the_connection_of_a_disabled_client_is_notified(self, registry: Registry, node: Node) -> None:
        await registry.register(claims())
        claim = await claimed(registry, node)
        async with listening(registry) as received:
            await registry.disable("demo")
            await received.wait_for(ClaimLost(claim.connection_id, LossReason.DISABLED))
        assert await registry.held_by(node) == {}

    async def test_the_channels_of_clients_are_changed_and_found(self, registry: Registry) -> None:
        assert await registry.set_channels("demo", ["a", "b.*"])
        assert not await registry.set_channels("unknown", ["a"])
        found = await registry.find("demo")
        assert found is not None
        assert found.channels == ("a", "b.*")
        assert await registry.channels(["demo", "unknown"]) == {"demo": ("a", "b.*")}

    async def test_the_policy_of_a_client_is_changed(self, registry: Registry) -> None:
        assert await registry.set_policy("demo", Policy.REPLACE)
        assert not await registry.set_policy("unknown", Policy.REPLACE)
        found = await registry.find("demo")
        assert found is not None
        assert found.policy is Policy.REPLACE

    async def test_the_node_of_a_connection_is_told_of_changed_channels(self, registry: Registry, node: Node) -> None:
        await registry.register(claims())
        claim = await claimed(registry, node)
        async with listening(registry) as received:
            await registry.set_channels("demo", ["a"])
            await registry.set_channels("demo", ["b"])
            await received.wait_for(Look(node.name))
        assert await registry.take_notices(node) == [
            GrantChanged(claim.connection_id, ("a",)),
            GrantChanged(claim.connection_id, ("b",)),
        ]
        assert list(await registry.held_by(node)) == [claim.connection_id]

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
