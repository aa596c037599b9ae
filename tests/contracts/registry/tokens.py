"""The guarantees of a registry about tokens: which are valid, and for how long after which connection."""

import pytest

from services.experience_api.refusals import CLIENT_DISABLED, TOKEN_EXPIRED, TOKEN_REFUSED
from services.experience_api.registry.clients import Client
from services.experience_api.registry.protocol import Node, Registry
from tests.contracts.registry.deployment import (
    DAYS,
    Deployment,
    RegistryFixtures,
    claimed,
    claims,
    dies,
    held,
    refusal_of,
    released,
)


class TokensContract(RegistryFixtures):
    @pytest.fixture(autouse=True)
    async def _registered(self, registry: Registry) -> None:
        await registry.register(claims())

    async def test_a_valid_token_is_not_among_the_invalid(self, registry: Registry, node: Node) -> None:
        assert await registry.invalid([], DAYS) == {}
        assert await registry.invalid([claims()], DAYS) == {}
        await released(registry, await claimed(registry, node))
        assert await registry.invalid([claims()], DAYS) == {}

    async def test_invalid_tokens_are_distinguished(self, registry: Registry) -> None:
        await registry.add(Client("shop", "x"))
        await registry.register(claims("shop", "its own"))
        await registry.disable("shop")
        tokens = [claims(), claims(token="older"), claims("shop", "its own"), claims("unknown")]
        assert await registry.invalid(tokens, DAYS) == {
            claims(token="older"): TOKEN_REFUSED,
            claims("shop", "its own"): CLIENT_DISABLED,
            claims("unknown"): TOKEN_REFUSED,
        }
        await registry.unregister("demo")
        assert await registry.invalid([claims()], DAYS) == {claims(): TOKEN_REFUSED}

    async def test_a_token_is_invalid_some_days_after_its_client_was_connected(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        claim = await claimed(registry, node)
        await deployment.pass_days(DAYS + 1)
        assert await registry.invalid([claims()], DAYS) == {}
        await released(registry, claim)
        assert await registry.invalid([claims()], DAYS) == {}
        await deployment.pass_days(DAYS + 1)
        assert await registry.invalid([claims()], DAYS) == {claims(): TOKEN_EXPIRED}

    async def test_a_token_is_valid_for_some_days_after_the_registration(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        await deployment.pass_days(DAYS - 0.01)
        await claimed(registry, node)

    async def test_a_token_that_was_never_used_expires(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        await deployment.pass_days(DAYS + 0.01)
        assert await refusal_of(registry, node) is TOKEN_EXPIRED

    async def test_registering_again_replaces_an_expired_token(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        await deployment.pass_days(DAYS + 1)
        await registry.register(claims(token="second"))
        await claimed(registry, node, token="second")

    async def test_a_token_is_valid_for_some_days_after_the_last_connection(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        for _ in range(2):
            await deployment.pass_days(DAYS - 1)
            await released(registry, await claimed(registry, node))
        await deployment.pass_days(DAYS + 1)
        assert await refusal_of(registry, node) is TOKEN_EXPIRED

    async def test_the_days_begin_at_the_end_of_a_long_connection(
        self, deployment: Deployment, registry: Registry, node: Node
    ) -> None:
        claim = await claimed(registry, node)
        await deployment.pass_days(3 * DAYS)
        await released(registry, claim)
        await deployment.pass_days(DAYS - 1)
        await claimed(registry, node)

    async def test_the_token_of_a_live_connection_does_not_expire(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node
    ) -> None:
        await claimed(registry, node)
        await deployment.pass_days(3 * DAYS)
        await held(registry, other)

    @pytest.mark.parametrize("cleaned_up", [False, True])
    async def test_the_lease_of_a_dead_node_tells_when_its_consumers_were_last_connected(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node, cleaned_up: bool
    ) -> None:
        await claimed(registry, node)
        await deployment.pass_days(3 * DAYS)
        await dies(deployment, node)
        await deployment.pass_days(DAYS - 1)
        assert await registry.release_dead() == 1 if cleaned_up else True
        await released(registry, await claimed(registry, other))

    @pytest.mark.parametrize("cleaned_up", [False, True])
    async def test_the_days_pass_after_a_node_has_died(
        self, deployment: Deployment, registry: Registry, node: Node, other: Node, cleaned_up: bool
    ) -> None:
        await claimed(registry, node)
        await dies(deployment, node)
        await deployment.pass_days(DAYS + 1)
        assert await registry.release_dead() == 1 if cleaned_up else True
        assert await refusal_of(registry, other) is TOKEN_EXPIRED

    async def test_another_clients_token_is_refused(self, registry: Registry, node: Node) -> None:
        await registry.add(Client("shop", "x"))
        await registry.register(claims("shop", "its own"))
        assert await refusal_of(registry, node, "demo", "its own") is TOKEN_REFUSED
