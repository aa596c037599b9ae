import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.experience_api.hub.close_codes import REMOVED, REPLACED, TOKEN_REFUSED
from services.experience_api.registry.protocol import Node
from services.experience_api.sessions.connections import Connections
from shared.errors import Unavailable
from tests.unit.services.experience_api.sessions.replicas import (
    OPTIONS,
    Deployment,
    a_deployment,
    claims,
    connected,
    reason,
)

OFTEN = OPTIONS.model_copy(update={"revocation_interval": 0.01})


@pytest.fixture
async def deployment() -> AsyncIterator[Deployment]:
    async with a_deployment(OFTEN) as deployment:
        deployment.registry.loses_notices = True
        yield deployment


async def settled(deployment: Deployment) -> Connections:
    """Return a replica whose first reconciliation is over."""
    replica = await deployment.replica("one")
    while replica._reconcile_now.is_set():
        await asyncio.sleep(0)
    return replica


async def test_a_revocation_whose_notice_is_lost_is_found(deployment: Deployment) -> None:
    replica = await settled(deployment)
    async with connected(replica) as (_, socket):
        await deployment.registry.unregister("demo")
        assert await reason(socket) is REMOVED


async def test_the_end_of_an_overlap_is_found(deployment: Deployment) -> None:
    replica = await deployment.replica("one")
    async with connected(replica) as (_, socket):
        await deployment.registry.register(claims(token="second"), 0.05)
        assert not socket.ended.done()
        assert await reason(socket) is REPLACED
    async with connected(replica, "second"):
        pass


async def test_notices_whose_response_is_lost_are_made_up_for(deployment: Deployment) -> None:
    """The registry deleted them, and the connection to it broke before they arrived."""
    replica = await settled(deployment)
    take, failures = deployment.registry.take_notices, 0

    async def fail_once(node: Node) -> Any:
        nonlocal failures
        found = await take(node)
        if found and not failures:
            failures += 1
            raise Unavailable("the response was lost")
        return found

    deployment.registry.take_notices = fail_once  # type: ignore[method-assign]
    async with connected(replica) as (_, socket):
        await deployment.registry.unregister("demo")
        assert await reason(socket) is TOKEN_REFUSED
    assert failures == 1


async def test_without_its_lease_a_replica_takes_no_notices(deployment: Deployment) -> None:
    replica = await settled(deployment)
    async with connected(replica) as (_, socket):
        node, replica._node._lease = replica._node.current(), None
        await deployment.registry.unregister("demo")
        await replica._revocations.look()
        assert not socket.ended.done()
        assert len(await deployment.registry.take_notices(node)) == 1
