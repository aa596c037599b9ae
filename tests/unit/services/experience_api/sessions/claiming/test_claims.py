import asyncio
from collections.abc import AsyncIterator

import pytest

from services.experience_api.hub.close_codes import TAKEN_OVER
from services.experience_api.refusals import ALREADY_CONNECTED
from services.experience_api.registry.clients import ClientChange, Policy
from tests.unit.services.experience_api.sessions.replicas import (
    OPTIONS,
    Deployment,
    a_deployment,
    connected,
    reason,
    refusal_of,
)


@pytest.fixture
async def deployment() -> AsyncIterator[Deployment]:
    async with a_deployment(OPTIONS) as deployment:
        yield deployment


@pytest.mark.parametrize("policy", Policy, ids=str)
async def test_the_policy_says_which_connection_stays(deployment: Deployment, policy: Policy) -> None:
    one, two = await deployment.replica("one"), await deployment.replica("two")
    await deployment.registry.change("demo", ClientChange(policy=policy))
    async with connected(one) as (_, first):
        if policy is Policy.REPLACE:
            async with connected(two):
                assert await reason(first) is TAKEN_OVER
        else:
            assert await refusal_of(two) is ALREADY_CONNECTED
            first.alive = False
    async with connected(one, alive=False):
        if policy is Policy.REJECT:
            assert await refusal_of(two) is ALREADY_CONNECTED
        else:
            async with connected(two):
                await asyncio.sleep(0)
