import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from services.experience_api.hub import close_codes
from services.experience_api.hub.close_codes import CLAIM_LOST, DISABLED, REMOVED, REPLACED, TAKEN_OVER, CloseReason
from services.experience_api.refusals import ALREADY_CONNECTED, TOKEN_REFUSED, UNAVAILABLE
from services.experience_api.registry.memory import MemoryRegistry
from services.experience_api.registry.notices import ClaimLost, LossReason, Probe
from services.experience_api.registry.protocol import Claim, Client, Held, Node
from services.experience_api.sessions.connections import ConnectionsOptions
from shared.errors import Unavailable
from tests.unit.services.experience_api.hub.connections import connection
from tests.unit.services.experience_api.hub.transports import FakeTransport
from tests.unit.services.experience_api.sessions.replicas import (
    OPTIONS,
    ORIGIN,
    Deployment,
    Socket,
    a_deployment,
    claims,
    connected,
    reason,
    refusal_of,
)
from tests.unit.skipping_loop import SkippingLoop


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


async def test_a_refused_token_leaves_no_slot_and_needs_no_release(deployment: Deployment) -> None:
    replica = await deployment.replica("one")
    assert await refusal_of(replica, "another") is TOKEN_REFUSED
    assert not replica._slots
    assert deployment.registry.releases == 0


@pytest.mark.parametrize("second", ["one", "two"], ids=["same replica", "other replica"])
async def test_a_second_connection_is_refused_while_the_first_responds(deployment: Deployment, second: str) -> None:
    first = await deployment.replica("one")
    replica = first if second == "one" else await deployment.replica("two")
    async with connected(first) as (_, socket):
        assert await refusal_of(replica) is ALREADY_CONNECTED
        assert not socket.ended.done()
    async with replica.slot(claims(), ORIGIN):
        pass


@pytest.mark.parametrize("second", ["one", "two"], ids=["same replica", "other replica"])
async def test_a_holder_that_does_not_respond_is_displaced(deployment: Deployment, second: str) -> None:
    first = await deployment.replica("one")
    replica = first if second == "one" else await deployment.replica("two")
    async with connected(first, alive=False) as (_, silent), replica.slot(claims(), ORIGIN) as slot:
        assert await reason(silent) is TAKEN_OVER
        held = await deployment.registry.held_by(Node(second, 1))
        assert list(held) == [slot.connection_id]


@pytest.mark.parametrize("second", ["one", "two"], ids=["same replica", "other replica"])
@pytest.mark.parametrize("lost", ["nothing", "answers"])
def test_a_silent_holder_is_displaced_within_two_seconds(second: str, lost: str) -> None:
    """With a real connection, whose peer is silent, and the default settings."""

    async def displace() -> float:
        async with a_deployment(ConnectionsOptions()) as deployment:
            first = await deployment.replica("one")
            replica = first if second == "one" else await deployment.replica("two")
            async with first.slot(claims(), ORIGIN) as held:
                silent = connection(FakeTransport())
                held.attach(silent)
                deployment.registry.loses_notices = lost == "answers"
                began = asyncio.get_running_loop().time()
                async with replica.slot(claims(), ORIGIN) as slot:
                    took = asyncio.get_running_loop().time() - began
                    assert list(await deployment.registry.held_by(Node(second, 1))) == [slot.connection_id]
                    assert silent.ending is TAKEN_OVER or deployment.registry.loses_notices
        return took

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        took = runner.run(displace())
    assert 1.0 < took <= 2.0  # the probe timeout, and at most the guaranteed time


async def test_a_replica_that_loses_notices_is_displaced_and_detects_it(deployment: Deployment) -> None:
    first, second = await deployment.replica("one"), await deployment.replica("two")
    async with connected(first) as (_, cut_off):
        deployment.registry.loses_notices = True
        async with second.slot(claims(), ORIGIN) as slot:
            deployment.registry.reconnect()
            assert await reason(cut_off) is TAKEN_OVER
            assert slot.lost is None


async def test_a_replica_without_notices_displaces_no_connection(deployment: Deployment) -> None:
    first, second = await deployment.replica("one"), await deployment.replica("two")
    async with connected(first) as (_, socket):
        deployment.registry.loses_notices, deployment.registry.problem = True, "not listening"
        assert await refusal_of(second) is UNAVAILABLE
        assert await refusal_of(first) is ALREADY_CONNECTED
        assert not socket.ended.done()
        assert list((await deployment.registry.held_by(Node("one", 1))).values()) == ["demo"]


async def test_a_holder_without_a_slot_is_displaced(deployment: Deployment) -> None:
    replica, other = await deployment.replica("one"), await deployment.replica("two")
    async with replica.slot(claims(), ORIGIN):
        deployment.registry.unavailable = True  # so that the release fails
    deployment.registry.unavailable = False
    assert len(await deployment.registry.held_by(Node("one", 1))) == 1
    async with other.slot(claims(), ORIGIN):
        assert await deployment.registry.held_by(Node("one", 1)) == {}


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


async def test_a_second_handshake_of_a_client_does_not_disturb_the_first(deployment: Deployment) -> None:
    """A holder is probed for one attempt at a time."""
    replica = await deployment.replica("one")
    async with connected(replica, alive=False) as (_, silent):
        attempts = [asyncio.create_task(refusal_of(replica)) for _ in range(20)]
        async with replica.slot(claims(), ORIGIN):
            assert await reason(silent) is TAKEN_OVER
            assert set(await asyncio.gather(*attempts)) == {ALREADY_CONNECTED}
    assert deployment.registry.claims <= 4


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


async def test_notices_about_others_are_ignored(deployment: Deployment) -> None:
    replica = await deployment.replica("one")
    async with connected(replica) as (_, socket):
        await deployment.registry.notify(ClaimLost(uuid.uuid4(), LossReason.REMOVED))
        await deployment.registry.notify(Probe(uuid.uuid4(), "elsewhere", uuid.uuid4()))
        await replica.reconcile()
        assert not socket.ended.done()


async def test_without_its_lease_a_replica_closes_its_connections_and_admits_none(deployment: Deployment) -> None:
    replica = await deployment.replica("one")
    async with connected(replica) as (_, socket):
        replica.lose_all()
        assert await reason(socket) is CLAIM_LOST
    replica._node._lease = None
    assert await refusal_of(replica) is UNAVAILABLE


async def test_a_missed_notice_is_made_up_for_after_reconnecting(deployment: Deployment) -> None:
    replica = await deployment.replica("one")
    async with connected(replica) as (_, socket):
        deployment.registry.loses_notices = True
        await deployment.registry.unregister("demo")
        assert not socket.ended.done()
        deployment.registry.reconnect()
        assert await reason(socket) is close_codes.TOKEN_REFUSED


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
            await replica.reconcile()
            assert await reason(socket) is expected


async def test_a_claim_is_lost_even_if_its_token_cannot_be_checked(deployment: Deployment) -> None:
    replica = await deployment.replica("one")
    async with connected(replica) as (_, socket):
        deployment.registry.loses_notices = True
        await deployment.registry.unregister("demo")
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


async def test_a_takeover_from_another_replica_is_announced_and_no_other(deployment: Deployment) -> None:
    announced: list[uuid.UUID] = []

    async def announce(connection_id: uuid.UUID) -> None:
        announced.append(connection_id)

    one, two = await deployment.replica("one"), await deployment.replica("two")
    one._announce = two._announce = announce
    async with connected(one, alive=False), one.slot(claims(), ORIGIN):
        assert announced == []
    async with connected(one, alive=False) as (slot, _), two.slot(claims(), ORIGIN):
        assert announced == [slot.connection_id]


async def test_a_takeover_that_cannot_be_announced_admits_nobody(deployment: Deployment) -> None:
    async def announce(_: uuid.UUID) -> None:
        raise Unavailable("the bus is unavailable")

    one, two = await deployment.replica("one"), await deployment.replica("two")
    two._announce = announce
    async with connected(one, alive=False):
        with pytest.raises(Unavailable):
            async with two.slot(claims(), ORIGIN):
                pytest.fail("admitted")
    assert await deployment.registry.held_by(Node("two", 1)) == {}


def test_many_connections_are_ended_in_waves_with_times_to_reconnect_that_differ() -> None:
    """All claims of a replica are void, for example because another process has its name."""

    async def lose() -> tuple[list[float], list[float]]:
        async with a_deployment(OPTIONS) as deployment, AsyncExitStack() as stack:
            replica = await deployment.replica("one")
            for number in range(150):
                token = claims(f"client-{number}", "its own")
                await deployment.registry.add(Client(token.client_id, "x"))
                await deployment.registry.register(token)
                slot = await stack.enter_async_context(replica.slot(token, ORIGIN))
                slot.attach(socket := Timed())
                sockets.append(socket)
            began = asyncio.get_running_loop().time()
            replica.lose_all()
            for socket in sockets:
                assert await reason(socket) is CLAIM_LOST
            return [socket.ended_at - began for socket in sockets], [socket.wait or 0.0 for socket in sockets]

    sockets: list[Timed] = []
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        ends, waits = runner.run(lose())
    assert 0.4 <= max(ends) < 2.0
    assert len({round(end, 3) for end in ends}) == 6
    assert len(set(waits)) == 150
    assert min(waits) >= 1.0
    assert max(waits) > 8.0


class Timed(Socket):
    """Records when it was ended."""

    ended_at = 0.0

    def end(self, reason: CloseReason, wait: float | None = None) -> None:
        self.ended_at = asyncio.get_running_loop().time()
        super().end(reason, wait)
