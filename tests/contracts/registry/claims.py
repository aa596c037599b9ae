"""What a registry promises of the one connection of each consumer."""

import asyncio
import uuid

import pytest

from services.experience_api.refusals import (
    CLIENT_DISABLED,
    LOOPBACK_ONLY,
    TOKEN_EXPIRED,
    TOKEN_REFUSED,
    UNAVAILABLE,
    Refusal,
    Refused,
)
from services.experience_api.registry.notices import Lost, Why
from services.experience_api.registry.protocol import Claim, Client, Held, Node, Registry, Wish
from tests.contracts.registry.deployment import (
    DAYS,
    Deployment,
    RegistryFixtures,
    alive,
    claimed,
    claims,
    dies,
    held,
    listening,
    released,
    wish,
)


async def refusal_of(registry: Registry, wanted: Wish) -> Refusal:
    with pytest.raises(Refused) as refused:
        await registry.claim(wanted)
    return refused.value.refusal


class ClaimsContract(RegistryFixtures):
    @pytest.fixture(autouse=True)
    async def _registered(self, registry: Registry) -> None:
        await registry.register(claims())

    async def test_a_claim_tells_what_the_client_may_do(self, registry: Registry, node: Node) -> None:
        wanted = wish(node)
        assert await claimed(registry, wanted) == Claim("demo", wanted.connection_id, 1, ("orders.**",), may_send=True)

    async def test_while_it_lives_nobody_else_gets_it(self, registry: Registry, node: Node, other: Node) -> None:
        first = await claimed(registry, wish(node))
        assert await held(registry, wish(node)) == Held(first.connection_id, "one")
        assert await held(registry, wish(other)) == Held(first.connection_id, "one")

    async def test_clients_do_not_touch_one_another(self, registry: Registry, node: Node) -> None:
        await registry.add(Client("shop", "x"))
        await registry.register(claims("shop", "its own"))
        await claimed(registry, wish(node))
        await claimed(registry, wish(node, "shop", "its own"))
        assert sorted((await registry.held_by(node)).values()) == ["demo", "shop"]

    async def test_once_released_it_is_free(self, registry: Registry, node: Node, other: Node) -> None:
        claim = await claimed(registry, wish(node))
        await released(registry, claim)
        await released(registry, claim)
        await claimed(registry, wish(other))

    async def test_a_release_that_comes_late_changes_nothing(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node
    ) -> None:
        old = await claimed(registry, wish(node))
        await dies(deployment, node)
        new = await claimed(registry, wish(other))
        await released(registry, old)
        assert await registry.held_by(other) == {new.connection_id: "demo"}

    async def test_what_a_dead_node_held_is_free(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node
    ) -> None:
        first = await claimed(registry, wish(node))
        await dies(deployment, node)
        second = await claimed(registry, wish(other))
        assert second.epoch > first.epoch

    async def test_what_a_node_held_in_an_earlier_life_is_free(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        await claimed(registry, wish(node))
        again = await alive(deployment, node.name)
        await claimed(registry, wish(again))

    async def test_a_node_without_its_lease_claims_nothing(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        await dies(deployment, node)
        assert await refusal_of(registry, wish(node)) is UNAVAILABLE
        assert await refusal_of(registry, wish(Node("never seen", 1))) is UNAVAILABLE
        assert await registry.held_by(node) == {}

    async def test_a_holder_known_not_to_answer_is_displaced_and_told(
        self, registry: Registry, node: Node, other: Node
    ) -> None:
        silent = await claimed(registry, wish(node))
        async with listening(registry) as ear:
            taken = await registry.claim(wish(other), instead_of=silent.connection_id)
            await ear.heard(Lost(silent.connection_id, Why.TAKEN_OVER))
        assert isinstance(taken, Claim)
        assert await registry.held_by(node) == {}
        assert await registry.held_by(other) == {taken.connection_id: "demo"}

    async def test_only_the_holder_that_is_named_is_displaced(self, registry: Registry, node: Node) -> None:
        first = await claimed(registry, wish(node))
        verdict = await registry.claim(wish(node), instead_of=uuid.uuid4())
        assert verdict == Held(first.connection_id, "one")

    async def test_who_displaces_a_holder_that_has_gone_tells_nobody(self, registry: Registry, node: Node) -> None:
        first = await claimed(registry, wish(node))
        await released(registry, first)
        async with listening(registry) as ear:
            assert isinstance(await registry.claim(wish(node), instead_of=first.connection_id), Claim)
        assert ear.notices == [None]

    async def test_of_many_at_once_on_two_replicas_exactly_one_succeeds(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node
    ) -> None:
        async with deployment.connect() as second:
            for _ in range(25):
                tries = [(registry, node), (second, other)] * 4
                verdicts = await asyncio.gather(*(replica.claim(wish(where)) for replica, where in tries))
                won = [verdict for verdict in verdicts if isinstance(verdict, Claim)]
                assert len(won) == 1
                assert {verdict.connection_id for verdict in verdicts} == {won[0].connection_id}
                await released(registry, won[0])

    async def test_of_many_that_displace_one_holder_exactly_one_succeeds(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node
    ) -> None:
        async with deployment.connect() as second:
            holder = await claimed(registry, wish(node))
            for _ in range(25):
                tries = [(registry, node), (second, other)] * 3
                verdicts = await asyncio.gather(
                    *(replica.claim(wish(where), holder.connection_id) for replica, where in tries)
                )
                (holder,) = [verdict for verdict in verdicts if isinstance(verdict, Claim)]

    async def test_a_valid_token_is_not_among_the_invalid(self, registry: Registry, node: Node) -> None:
        assert await registry.invalid([], DAYS) == {}
        assert await registry.invalid([claims()], DAYS) == {}
        await released(registry, await claimed(registry, wish(node)))
        assert await registry.invalid([claims()], DAYS) == {}

    async def test_invalid_tokens_are_told_apart(self, registry: Registry) -> None:
        await registry.add(Client("shop", "x"))
        await registry.register(claims("shop", "its own"))
        await registry.disable("shop")
        tokens = [claims(), claims(token="older"), claims("shop", "its own"), claims("nobody")]
        assert await registry.invalid(tokens, DAYS) == {
            claims(token="older"): TOKEN_REFUSED,
            claims("shop", "its own"): CLIENT_DISABLED,
            claims("nobody"): TOKEN_REFUSED,
        }
        await registry.forget("demo")
        assert await registry.invalid([claims()], DAYS) == {claims(): TOKEN_REFUSED}

    async def test_a_token_is_invalid_some_days_after_its_client_was_connected(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        claim = await claimed(registry, wish(node))
        await deployment.pass_days(DAYS + 1)
        assert await registry.invalid([claims()], DAYS) == {}
        await released(registry, claim)
        assert await registry.invalid([claims()], DAYS) == {}
        await deployment.pass_days(DAYS + 1)
        assert await registry.invalid([claims()], DAYS) == {claims(): TOKEN_EXPIRED}

    async def test_claims_and_releases_at_once_never_wait_for_one_another(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node
    ) -> None:
        """Nor do registrations, removals and disabling: a deadlock would be an error here."""
        async with deployment.connect() as second:

            async def come_and_go(replica: Registry, where: Node) -> None:
                for _ in range(15):
                    try:
                        verdict = await replica.claim(wish(where))
                    except Refused:
                        continue
                    if isinstance(verdict, Claim):
                        await released(replica, verdict)

            async def administer() -> None:
                for _ in range(15):
                    await registry.disable("demo")
                    await second.settle()
                    await registry.enable("demo")
                    await registry.forget("demo")
                    await registry.register(claims())

            await asyncio.gather(
                *(come_and_go(registry, node) for _ in range(3)),
                *(come_and_go(second, other) for _ in range(3)),
                administer(),
            )

    async def test_a_token_is_good_for_some_days_after_the_registration(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        await deployment.pass_days(DAYS - 0.01)
        await claimed(registry, wish(node))

    async def test_a_token_that_was_never_used_expires(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        await deployment.pass_days(DAYS + 0.01)
        assert await refusal_of(registry, wish(node)) is TOKEN_EXPIRED

    async def test_registering_anew_replaces_an_expired_token(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        await deployment.pass_days(DAYS + 1)
        await registry.register(claims(token="second"))
        await claimed(registry, wish(node, token="second"))

    async def test_a_token_is_good_for_some_days_after_the_last_connection(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        for _ in range(2):
            await deployment.pass_days(DAYS - 1)
            await released(registry, await claimed(registry, wish(node)))
        await deployment.pass_days(DAYS + 1)
        assert await refusal_of(registry, wish(node)) is TOKEN_EXPIRED

    async def test_the_days_begin_at_the_end_of_a_long_connection(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        claim = await claimed(registry, wish(node))
        await deployment.pass_days(3 * DAYS)
        await released(registry, claim)
        await deployment.pass_days(DAYS - 1)
        await claimed(registry, wish(node))

    async def test_the_token_of_a_live_connection_does_not_expire(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node
    ) -> None:
        await claimed(registry, wish(node))
        await deployment.pass_days(3 * DAYS)
        await held(registry, wish(other))

    @pytest.mark.parametrize("settled", [False, True])
    async def test_the_lease_of_a_dead_node_tells_when_its_consumers_were_last_connected(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node, settled: bool
    ) -> None:
        await claimed(registry, wish(node))
        await deployment.pass_days(3 * DAYS)
        await dies(deployment, node)
        await deployment.pass_days(DAYS - 1)
        assert await registry.settle() == 1 if settled else True
        await released(registry, await claimed(registry, wish(other)))

    @pytest.mark.parametrize("settled", [False, True])
    async def test_the_days_go_on_after_a_node_has_died(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node, settled: bool
    ) -> None:
        await claimed(registry, wish(node))
        await dies(deployment, node)
        await deployment.pass_days(DAYS + 1)
        assert await registry.settle() == 1 if settled else True
        assert await refusal_of(registry, wish(other)) is TOKEN_EXPIRED

    async def test_settling_releases_what_dead_nodes_held_and_nothing_else(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node
    ) -> None:
        await registry.add(Client("shop", "x"))
        await registry.register(claims("shop", "its own"))
        await claimed(registry, wish(node))
        await claimed(registry, wish(other, "shop", "its own"))
        await dies(deployment, node)
        assert await registry.settle() == 1
        assert await registry.settle() == 0
        assert await registry.held_by(node) == {}
        assert list((await registry.held_by(other)).values()) == ["shop"]

    async def test_a_client_for_the_loopback_connects_from_there_only(self, registry: Registry, node: Node) -> None:
        await registry.add(Client("local", "x", loopback_only=True))
        await registry.register(claims("local", "its own"))
        assert await refusal_of(registry, wish(node, "local", "its own", loopback=False)) is LOOPBACK_ONLY
        await claimed(registry, wish(node, "local", "its own", loopback=True))

    async def test_another_clients_token_is_refused(self, registry: Registry, node: Node) -> None:
        await registry.add(Client("shop", "x"))
        await registry.register(claims("shop", "its own"))
        assert await refusal_of(registry, wish(node, "demo", "its own")) is TOKEN_REFUSED
