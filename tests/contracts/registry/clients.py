"""The guarantees of a registry about clients."""

import asyncio
from dataclasses import replace

import pytest

from services.experience_api.refusals import CLIENT_DISABLED, TOKEN_REFUSED, WRONG_CREDENTIALS, Refused
from services.experience_api.registry.clients import Client, ClientChange, Policy
from services.experience_api.registry.notices import ClaimLost, GrantChanged, Look, LossReason
from services.experience_api.registry.protocol import Node, Registry
from services.experience_api.registry.tokens import SigningKey
from tests.contracts.registry.deployment import DAYS, Deployment, RegistryFixtures, attempt, claimed, claims, listening


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
        assert [client.client_id for client in await registry.page()] == ["ape", "demo", "zoo"]

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

    async def test_the_token_of_a_disabled_client_is_valid_for_some_days_after_its_connection(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        await registry.register(claims())
        await claimed(registry, node)
        await deployment.pass_days(3 * DAYS)
        await registry.disable("demo")
        await deployment.pass_days(DAYS - 1)
        await registry.enable("demo")
        await claimed(registry, node)

    @pytest.mark.parametrize(
        "change", [ClientChange(may_send=False, channels=("a",)), ClientChange(loopback_only=True)]
    )
    async def test_a_connection_ends_if_a_permission_changes_that_it_was_admitted_with(
        self, deployment: Deployment, registry: Registry, node: Node, change: ClientChange
    ) -> None:
        await registry.register(claims())
        claim = await claimed(registry, node)
        await deployment.pass_days(3 * DAYS)
        same = ClientChange(may_send=True, loopback_only=False, max_connections=3, policy=Policy.REPLACE, note="n")
        assert await registry.change("demo", same)
        assert await registry.take_notices(node) == []
        assert await registry.change("demo", change)
        assert await registry.take_notices(node) == [ClaimLost(claim.connection_id, LossReason.DISCONNECTED)]
        again = await claimed(registry, node)
        assert again.may_send is not (change.may_send is False)
        assert await registry.change("demo", replace(change, channels=None))  # nothing that it does not have already
        assert await registry.take_notices(node) == []

    async def test_the_channels_of_clients_are_changed_and_found(self, registry: Registry) -> None:
        assert await registry.change("demo", ClientChange(channels=("a", "b.*")))
        assert not await registry.change("unknown", ClientChange(channels=("a",)))
        found = await registry.find("demo")
        assert found is not None
        assert found.channels == ("a", "b.*")
        assert await registry.channels(["demo", "unknown"]) == {"demo": ("a", "b.*")}

    async def test_members_of_a_client_are_changed_and_the_others_stay(self, registry: Registry) -> None:
        before = await registry.find("demo")
        assert before is not None
        change = ClientChange(may_send=False, loopback_only=True, note="a note", policy=Policy.REPLACE)
        assert await registry.change("demo", change)
        assert await registry.change("demo", ClientChange())
        assert not await registry.change("unknown", change)
        assert not await registry.change("unknown", ClientChange())
        assert await registry.find("demo") == replace(before, **change.members)

    async def test_clients_are_paged_by_id(self, registry: Registry) -> None:
        for name in ("zoo", "ape"):
            await registry.add(Client(name, "x"))
        assert [client.client_id for client in await registry.page(limit=2)] == ["ape", "demo"]
        assert [client.client_id for client in await registry.page("demo", 2)] == ["zoo"]
        assert await registry.page("zoo") == []

    async def test_the_secret_before_a_new_one_is_valid_for_the_overlap(
        self, deployment: Deployment, registry: Registry
    ) -> None:
        for number in range(2):
            before = (await found(registry)).secret_hash
            assert await registry.rotate("demo", f"new {number}", 3600.0)
            assert (await found(registry)).secret_hashes == (f"new {number}", before)
            assert (await found(registry)).previous_secret_until is not None
        await deployment.pass_days(1)
        assert (await found(registry)).secret_hashes == ("new 1",)
        assert (await found(registry)).previous_secret_until is None
        await registry.release_dead()
        assert (await registry.page())[0].secret_hashes == ("new 1",)

    async def test_without_an_overlap_only_the_new_secret_is_valid(self, registry: Registry) -> None:
        assert await registry.rotate("demo", "new", 3600.0)
        assert await registry.rotate("demo", "newer", 0.0)
        assert (await found(registry)).secret_hashes == ("newer",)
        assert not await registry.rotate("unknown", "new", 0.0)

    async def test_a_new_secret_leaves_the_token_and_the_connection(self, registry: Registry, node: Node) -> None:
        await registry.register(claims())
        claim = await claimed(registry, node)
        assert await registry.rotate("demo", "new", 0.0)
        assert await registry.take_notices(node) == []
        assert await registry.invalid([claims()], DAYS) == {}
        assert list(await registry.held_by(node)) == [claim.connection_id]

    async def test_of_a_removed_client_nothing_is_left(self, registry: Registry, node: Node) -> None:
        await registry.register(claims())
        claim = await claimed(registry, node)
        async with listening(registry) as received:
            assert await registry.remove("demo")
            await received.wait_for(ClaimLost(claim.connection_id, LossReason.REMOVED))
        assert await registry.take_notices(node) == [ClaimLost(claim.connection_id, LossReason.REMOVED)]
        assert await registry.find("demo") is None
        assert await registry.held_by(node) == {}
        with pytest.raises(Refused) as connecting:
            await attempt(registry, node)
        assert connecting.value.refusal is TOKEN_REFUSED
        with pytest.raises(Refused) as registering:
            await registry.register(claims())
        assert registering.value.refusal is WRONG_CREDENTIALS
        assert not await registry.remove("demo")

    async def test_a_client_of_the_id_of_a_removed_one_has_none_of_its_tokens(
        self, registry: Registry, node: Node
    ) -> None:
        await registry.register(claims())
        assert await registry.remove("demo")
        assert await registry.add(Client("demo", "another"))
        with pytest.raises(Refused) as connecting:
            await attempt(registry, node)
        assert connecting.value.refusal is TOKEN_REFUSED

    async def test_the_node_of_a_connection_is_told_of_changed_channels(self, registry: Registry, node: Node) -> None:
        await registry.register(claims())
        claim = await claimed(registry, node)
        async with listening(registry) as received:
            await registry.change("demo", ClientChange(channels=("a",)))
            await registry.change("demo", ClientChange(channels=("b",)))
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


async def found(registry: Registry) -> Client:
    """Return the client of the fixture."""
    client = await registry.find("demo")
    assert client is not None
    return client
