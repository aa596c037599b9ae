"""The guarantees of a registry about the tokens of clients that may have several connections."""

import asyncio

from services.experience_api.refusals import TOKEN_EXPIRED, TOKEN_REFUSED
from services.experience_api.registry.clients import ClientChange, Policy
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
    refusal_of,
    released,
)

LIMIT = 3
UNUSED = 10
"""So many tokens stay valid at least that no connection uses."""
NAMES = ("first", "second", "third")


async def instances(registry: Registry, *names: str, limit: int = LIMIT) -> None:
    """Register each instance of a client that may have several connections."""
    assert await registry.change("demo", ClientChange(max_connections=limit))
    for name in names:
        await registry.register(claims(token=name))


async def valid(registry: Registry, *names: str) -> list[str]:
    """Return the names whose tokens are valid."""
    invalid = await registry.invalid([claims(token=name) for name in names], DAYS)
    assert set(invalid.values()) <= {TOKEN_REFUSED}
    return [name for name in names if claims(token=name) not in invalid]


async def count(registry: Registry) -> int:
    """Return how many tokens the client is shown to have, wherever it is shown."""
    client, [listed], consumers = await registry.find("demo"), await registry.page(), await registry.consumers()
    assert client is not None
    assert client.tokens == listed.tokens == sum(each.tokens for each in consumers)
    return client.tokens


class SeveralTokensContract(RegistryFixtures):
    async def test_the_tokens_of_a_client_are_counted(self, registry: Registry, node: Node) -> None:
        assert await count(registry) == 1
        await registry.register(claims(token="second"), overlap=3600.0)
        assert await count(registry) == 2
        await registry.register(claims(token="fourth"))
        assert await count(registry) == 1
        await instances(registry, *NAMES)
        assert await count(registry) == len(await valid(registry, "fourth", *NAMES)) == 4
        await claimed(registry, node, token="second")
        assert await count(registry) == 4
        await registry.unregister("demo")
        assert await count(registry) == 0

    async def test_each_instance_registers_and_connects_beside_the_others(
        self, registry: Registry, node: Node, other: Node
    ) -> None:
        await instances(registry)
        granted = []
        for name, on in zip(NAMES, (node, other, node), strict=True):
            await registry.register(claims(token=name))
            granted.append(await claimed(registry, on, token=name))
        assert await registry.take_notices(node) == await registry.take_notices(other) == []
        for claim, name in zip(granted, NAMES, strict=True):  # each of them comes back with its own token
            await released(registry, claim)
            await claimed(registry, other, token=name)

    async def test_an_instance_that_restarts_again_and_again_ends_none_of_the_others(
        self, registry: Registry, node: Node
    ) -> None:
        await instances(registry, *NAMES)
        for name in NAMES[:-1]:
            await claimed(registry, node, token=name)
        for number in range(3 * UNUSED):
            await registry.register(claims(token=f"restart {number}"))
            await released(registry, await claimed(registry, node, token=f"restart {number}"))
        assert await registry.take_notices(node) == []
        assert await valid(registry, *NAMES) == list(NAMES[:-1])  # the third was the first not to be used

    async def test_more_instances_than_connections_wait_with_their_tokens(self, registry: Registry, node: Node) -> None:
        """So does a Deployment whose update starts new ones before it stops the old ones."""
        await instances(registry, *NAMES)
        before = [await claimed(registry, node, token=name) for name in NAMES]
        surge = [f"new {name}" for name in NAMES]
        for name in surge:
            await registry.register(claims(token=name))
            assert not isinstance(await attempt(registry, node, token=name), Claim)
        assert await registry.take_notices(node) == []
        for claim, name in zip(before, surge, strict=True):
            await released(registry, claim)
            await claimed(registry, node, token=name)

    async def test_unused_tokens_are_bounded_and_the_last_used_stay(self, registry: Registry, node: Node) -> None:
        names = [f"token {number}" for number in range(UNUSED)]
        await instances(registry, *names)
        assert await valid(registry, *names) == names
        await released(registry, await claimed(registry, node, token=names[0]))
        await registry.register(claims(token="one more"))
        assert await valid(registry, *names, "one more") == [names[0], *names[2:], "one more"]

    async def test_as_many_unused_tokens_stay_as_a_client_may_have_connections(self, registry: Registry) -> None:
        names = [f"token {number}" for number in range(2 * UNUSED + 1)]
        await instances(registry, *names, limit=2 * UNUSED)
        assert await valid(registry, *names) == names[1:]

    async def test_first_registrations_at_the_same_moment_all_count(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        async with deployment.connect() as second:
            for _ in range(10):
                await instances(registry)
                each = zip(NAMES, (registry, second, registry), strict=True)
                await asyncio.gather(*(on.register(claims(token=name)) for name, on in each))
                granted = [await claimed(registry, node, token=name) for name in NAMES]
                assert {claim.client_id for claim in granted} == {"demo"}
                assert await registry.unregister("demo")

    async def test_connections_that_come_and_go_while_others_register_keep_their_tokens(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node
    ) -> None:
        await instances(registry, *NAMES)

        async def reconnects(on: Registry, at: Node, name: str) -> None:
            for _ in range(10):
                await released(on, await claimed(on, at, token=name))

        async def registers() -> None:
            for number in range(UNUSED - len(NAMES)):
                await registry.register(claims(token=f"more {number}"))

        async with deployment.connect() as second:
            busy = [reconnects(second, other, name) for name in NAMES[1:]]
            await asyncio.gather(reconnects(registry, node, NAMES[0]), registers(), *busy)
        assert await registry.take_notices(node) == await registry.take_notices(other) == []
        assert await valid(registry, *NAMES) == list(NAMES)

    async def test_a_token_expires_some_days_after_its_own_last_connection(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        await instances(registry, *NAMES)
        idle, busy = [await claimed(registry, node, token=name) for name in NAMES[:2]]
        await deployment.pass_days(DAYS + 1)
        assert await valid(registry, *NAMES) == list(NAMES)  # connected, and the newest of a connected client
        await released(registry, idle)
        await deployment.pass_days(DAYS - 1)
        await released(registry, await claimed(registry, node, token="first"))
        await deployment.pass_days(DAYS + 1)
        assert await registry.invalid([claims()], DAYS) == {claims(): TOKEN_EXPIRED}
        assert await refusal_of(registry, node) is TOKEN_EXPIRED
        await registry.disconnect(busy.connection_id)
        await deployment.pass_days(DAYS - 1)
        await claimed(registry, node, token="second")

    async def test_the_lease_of_a_dead_node_tells_when_a_token_was_used(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node
    ) -> None:
        await instances(registry, *NAMES)
        for name in NAMES[:2]:
            await claimed(registry, node, token=name)
        await deployment.pass_days(2 * DAYS)
        await dies(deployment, node)
        await deployment.pass_days(DAYS - 1)
        await released(registry, await claimed(registry, other, token="third"))  # in the place of one of them
        assert await registry.release_dead() == 1
        assert await valid(registry, *NAMES) == list(NAMES)
        await deployment.pass_days(2)
        used = [await registry.invalid([claims(token=name)], DAYS) for name in NAMES]
        assert used[2] == {}
        assert used[1] == {claims(token="second"): TOKEN_EXPIRED}

    async def test_all_tokens_end_with_the_consumer(self, registry: Registry, node: Node) -> None:
        await instances(registry, *NAMES)
        granted = [await claimed(registry, node, token=name) for name in NAMES]
        assert await registry.unregister("demo")
        ends = [ClaimLost(claim.connection_id, LossReason.REMOVED) for claim in granted]
        assert sorted(await registry.take_notices(node), key=str) == sorted(ends, key=str)
        assert await valid(registry, *NAMES) == []
        await registry.register(claims(token="fourth"))
        assert await valid(registry, *NAMES, "fourth") == ["fourth"]

    async def test_all_connections_end_with_disable_and_their_tokens_are_kept(
        self, registry: Registry, node: Node
    ) -> None:
        await instances(registry, *NAMES)
        granted = [await claimed(registry, node, token=name) for name in NAMES]
        await registry.disable("demo")
        ends = [ClaimLost(claim.connection_id, LossReason.DISABLED) for claim in granted]
        assert sorted(await registry.take_notices(node), key=str) == sorted(ends, key=str)
        await registry.enable("demo")
        assert await valid(registry, *NAMES) == list(NAMES)

    async def test_a_secret_that_is_rotated_leaves_the_tokens(self, registry: Registry, node: Node) -> None:
        await instances(registry, *NAMES)
        assert await registry.rotate("demo", "another", 0.0)
        for name in NAMES:
            await claimed(registry, node, token=name)
        assert await registry.take_notices(node) == []

    async def test_tokens_from_before_a_client_may_have_several_count(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        """With the one that still overlaps, whose overlap ends nothing any more."""
        await registry.register(claims())
        await registry.register(claims(token="second"), 3600.0)
        await instances(registry)
        granted = [await claimed(registry, node, token=name) for name in NAMES[:2]]
        await registry.register(claims(token="third"), 3600.0)
        await deployment.pass_days(1)
        assert await registry.end_overlaps() == 0
        assert list(await registry.held_by(node)) == [claim.connection_id for claim in granted]
        assert await valid(registry, *NAMES) == list(NAMES)

    async def test_an_overlap_that_ends_leaves_the_tokens_of_the_others(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        await instances(registry, "first", "second")
        for name in ("first", "second"):
            await claimed(registry, node, token=name)
        await registry.change("demo", ClientChange(max_connections=1))
        await registry.register(claims(token="third"), 3600.0)
        lost = await registry.take_notices(node)
        assert [type(notice) for notice in lost] == [ClaimLost, ClaimLost]  # too many, and replaced
        assert await valid(registry, *NAMES) == ["second", "third"]
        await registry.change("demo", ClientChange(max_connections=LIMIT))
        await claimed(registry, node, token="third")
        await deployment.pass_days(1)
        assert await registry.end_overlaps() == 1
        assert len(await registry.held_by(node)) == 1

    async def test_with_one_connection_a_registration_ends_all_others_again(
        self, registry: Registry, node: Node
    ) -> None:
        await instances(registry, *NAMES)
        for name in NAMES:
            await claimed(registry, node, token=name)
        await registry.change("demo", ClientChange(max_connections=1, policy=Policy.REPLACE))
        assert len(await registry.take_notices(node)) == LIMIT - 1
        assert await valid(registry, *NAMES) == list(NAMES)
        await registry.register(claims(token="fourth"))
        assert len(await registry.take_notices(node)) == 1
        assert await valid(registry, *NAMES, "fourth") == ["fourth"]
