import asyncio
from collections.abc import AsyncIterator

import pytest

from services.experience_api.hub.close_codes import TAKEN_OVER
from services.experience_api.refusals import ALREADY_CONNECTED
from services.experience_api.registry.clients import ClientChange, Policy
from services.experience_api.sessions.connections import Connections
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


async def test_a_client_that_may_have_several_connections_opens_them_at_once(deployment: Deployment) -> None:
    one, two = await deployment.replica("one"), await deployment.replica("two")
    await deployment.registry.change("demo", ClientChange(max_connections=3))
    stay, opened = asyncio.Event(), asyncio.Semaphore(0)

    async def connect(replica: Connections) -> None:
        async with connected(replica):
            opened.release()
            await stay.wait()

    async with asyncio.TaskGroup() as group:
        for replica in (one, one, two):
            _ = group.create_task(connect(replica))
        for _ in range(3):
            await opened.acquire()
        for replica in (one, two):
            assert await refusal_of(replica) is ALREADY_CONNECTED
        stay.set()


async def test_the_one_of_several_connections_that_does_not_answer_is_replaced(deployment: Deployment) -> None:
    one, two = await deployment.replica("one"), await deployment.replica("two")
    await deployment.registry.change("demo", ClientChange(max_connections=2))
    for silent in (0, 1):
        async with (
            connected(one, alive=silent != 0) as (_, first),
            connected(two, alive=silent != 1) as (_, second),
            connected(one),
        ):
            assert await reason((first, second)[silent]) is TAKEN_OVER
            assert not (second, first)[silent].ended.done()
    await deployment.registry.change("demo", ClientChange(policy=Policy.REPLACE))
    async with connected(one) as (_, oldest), connected(two) as (_, newest), connected(two):
        assert await reason(oldest) is TAKEN_OVER
        assert not newest.ended.done()
