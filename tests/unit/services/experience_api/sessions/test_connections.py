import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.experience_api.hub import close_codes
from services.experience_api.hub.close_codes import CLAIM_LOST, DISABLED, REMOVED, REPLACED
from services.experience_api.refusals import ALREADY_CONNECTED, TOKEN_REFUSED, UNAVAILABLE
from services.experience_api.registry.clients import ClientChange
from services.experience_api.registry.memory import MemoryRegistry
from services.experience_api.registry.protocol import Claim, Held, Node
from shared.errors import Unavailable
from tests.unit.services.experience_api.sessions.replicas import (
    OPTIONS,
    ORIGIN,
    Deployment,
    a_deployment,
    claims,
    connected,
    reason,
    refusal_of,
)


@pytest.fixture
async def deployment() -> AsyncIterator[Deployment]:
    async with a_deployment(OPTIONS) as deployment:
        yield deployment


async def test_a_slot_is_claimed_and_released(deployment: Deployment) -> None:
    replica = await deployment.replica("one")
    for _ in range(2):
        async with replica.slot(claims(), ORIGIN) as slot:
            assert slot.claim is not None
            assert slot.claim.connection_id == slot.connection_id
            assert list(await deployment.registry.held_by(Node("one", 1))) == [slot.connection_id]
        assert await deployment.registry.held_by(Node("one", 1)) == {}


async def test_a_first_attempt_that_is_gone_does_not_refuse_the_next_one(deployment: Deployment) -> None:
    """On the same replica while it claims, and on another one before its connection is attached."""
    replica, other = await deployment.replica("one"), await deployment.replica("two")
    gone, claimed = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with replica.slot(claims(), ORIGIN, gone.is_set):
            claimed.set()
            await asyncio.Event().wait()

    claim, held = deployment.registry.claim, asyncio.Event()

    async def slow_claim(*arguments: Any, **keywords: Any) -> Claim | Held:
        await held.wait()
        return await claim(*arguments, **keywords)

    deployment.registry.claim = slow_claim  # type: ignore[method-assign]
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        attempt = group.create_task(first())
        await asyncio.sleep(0)
        assert await refusal_of(replica) is ALREADY_CONNECTED
        gone.set()
        asyncio.get_running_loop().call_soon(held.set)
        async with replica.slot(claims(), ORIGIN) as slot:
            assert claimed.is_set()
            assert slot.claim is not None
        attempt.cancel()
    gone.clear()
    claimed.clear()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        attempt = group.create_task(first())
        await claimed.wait()
        assert await refusal_of(other) is ALREADY_CONNECTED
        gone.set()
        async with other.slot(claims(), ORIGIN) as slot:
            assert slot.claim is not None
        attempt.cancel()


async def test_a_refused_token_leaves_no_slot_and_needs_no_release(deployment: Deployment) -> None:
    replica = await deployment.replica("one")
    assert await refusal_of(replica, "another") is TOKEN_REFUSED
    assert not replica._slots
    assert deployment.registry.releases == 0


async def test_a_failed_release_is_made_up_for_by_the_next_reconciliation(deployment: Deployment) -> None:
    replica = await deployment.replica("one")
    async with replica.slot(claims(), ORIGIN):
        deployment.registry.unavailable = True
    deployment.registry.unavailable = False
    await replica.reconcile()
    assert await deployment.registry.held_by(Node("one", 1)) == {}


async def test_a_claim_with_an_unknown_outcome_is_released(deployment: Deployment) -> None:
    """The registry claimed, and its answer was lost."""
    replica = await deployment.replica("one")

    async def claim_and_fail(*arguments: Any, **keywords: Any) -> Claim | Held:
        await MemoryRegistry.claim(deployment.registry, *arguments, **keywords)
        raise Unavailable("the answer was lost")

    claim, deployment.registry.claim = deployment.registry.claim, claim_and_fail  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        async with replica.slot(claims(), ORIGIN):
            pytest.fail("admitted")
    deployment.registry.claim = claim  # type: ignore[method-assign]
    assert await deployment.registry.held_by(Node("one", 1)) == {}


async def test_administration_closes_the_connection_with_its_reason(deployment: Deployment) -> None:
    replica = await deployment.replica("one")
    async with connected(replica) as (_, socket):
        await deployment.registry.register(claims(token="second"))
        assert await reason(socket) is REPLACED
    async with connected(replica, "second") as (_, socket):
        await deployment.registry.disable("demo")
        assert await reason(socket) is DISABLED
    await deployment.registry.enable("demo")
    async with connected(replica, "second") as (_, socket):
        await deployment.registry.unregister("demo")
        assert await reason(socket) is REMOVED
    assert deployment.registry.releases == 0


async def test_a_notice_during_the_handshake_counts(deployment: Deployment) -> None:
    replica = await deployment.replica("one")
    async with replica.slot(claims(), ORIGIN) as slot:
        await deployment.registry.register(claims(token="second"))
        assert slot.lost is REPLACED


async def test_without_its_lease_a_replica_closes_its_connections_and_admits_none(deployment: Deployment) -> None:
    replica = await deployment.replica("one")
    async with connected(replica) as (_, socket):
        replica.lose_all()
        assert await reason(socket) is CLAIM_LOST
    replica._node._lease = None
    assert await refusal_of(replica) is UNAVAILABLE


@pytest.mark.parametrize("stored", [True, False])
async def test_a_missed_notice_is_made_up_for_after_reconnecting(deployment: Deployment, stored: bool) -> None:
    replica = await deployment.replica("one")
    async with connected(replica) as (_, socket):
        deployment.registry.loses_notices = True
        await deployment.registry.unregister("demo")
        assert not socket.ended.done()
        if not stored:
            deployment.registry.lose_stored()
        deployment.registry.reconnect()
        assert await reason(socket) is (close_codes.REMOVED if stored else close_codes.TOKEN_REFUSED)


async def test_a_connection_that_is_too_many_is_told_so_also_where_notices_are_missed(deployment: Deployment) -> None:
    """And not that another one has taken it over, after which clients do not come back."""
    replica = await deployment.replica("one")
    await deployment.registry.change("demo", ClientChange(max_connections=2))
    async with connected(replica) as (_, first), connected(replica) as (_, second):
        deployment.registry.loses_notices = True
        await deployment.registry.change("demo", ClientChange(max_connections=1))
        await replica.reconcile()
        assert await reason(second) is close_codes.DISCONNECTED
        assert not first.ended.done()


async def test_a_claim_lost_without_a_notice_closes_with_the_refusal_of_its_token(deployment: Deployment) -> None:
    replica = await deployment.replica("one")
    for change, expected in (
        (deployment.registry.disable("demo"), close_codes.DISABLED),
        (deployment.registry.register(claims(token="second")), close_codes.TOKEN_REFUSED),
    ):
        deployment.registry.loses_notices = True
        await deployment.registry.enable("demo")
        async with connected(replica) as (_, socket):
            await change
            deployment.registry.lose_stored()
            await replica.reconcile()
            assert await reason(socket) is expected


async def test_a_claim_is_lost_even_if_its_token_cannot_be_checked(deployment: Deployment) -> None:
    replica = await deployment.replica("one")
    async with connected(replica) as (_, socket):
        deployment.registry.loses_notices = True
        await deployment.registry.unregister("demo")
        deployment.registry.lose_stored()
        deployment.registry.invalid_fails = True
        await replica.reconcile()
        assert await reason(socket) is CLAIM_LOST


async def test_a_reconciliation_does_not_affect_connections_that_open_and_close(deployment: Deployment) -> None:
    replica = await deployment.replica("one")
    for _ in range(50):
        async with asyncio.TaskGroup() as group:
            reconciling = group.create_task(replica.reconcile())
            async with connected(replica) as (slot, _):
                await reconciling
                assert slot.lost is None


async def test_an_unavailable_registry_is_an_error(deployment: Deployment) -> None:
    replica = await deployment.replica("one")
    deployment.registry.unavailable = True
    with pytest.raises(Unavailable):
        async with replica.slot(claims(), ORIGIN):
            pytest.fail("admitted")
    assert not replica._slots
