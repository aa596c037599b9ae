import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from services.experience_api.hub.close_codes import TAKEN_OVER
from services.experience_api.refusals import ALREADY_CONNECTED, UNAVAILABLE
from services.experience_api.registry.notices import ClaimLost, LossReason, Probe
from services.experience_api.registry.protocol import Node
from services.experience_api.sessions.options import ConnectionsOptions
from shared.errors import Unavailable
from tests.unit.services.experience_api.hub.connections import connection
from tests.unit.services.experience_api.hub.transports import FakeTransport
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
from tests.unit.skipping_loop import SkippingLoop


@pytest.fixture
async def deployment() -> AsyncIterator[Deployment]:
    async with a_deployment(OPTIONS) as deployment:
        yield deployment


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


async def test_a_second_handshake_of_a_client_does_not_disturb_the_first(deployment: Deployment) -> None:
    """A holder is probed for one attempt at a time."""
    replica = await deployment.replica("one")
    async with connected(replica, alive=False) as (_, silent):
        attempts = [asyncio.create_task(refusal_of(replica)) for _ in range(20)]
        async with replica.slot(claims(), ORIGIN):
            assert await reason(silent) is TAKEN_OVER
            assert set(await asyncio.gather(*attempts)) == {ALREADY_CONNECTED}
    assert deployment.registry.claims <= 4


async def test_notices_about_others_are_ignored(deployment: Deployment) -> None:
    replica = await deployment.replica("one")
    async with connected(replica) as (_, socket):
        await deployment.registry.notify(ClaimLost(uuid.uuid4(), LossReason.REMOVED))
        await deployment.registry.notify(Probe(uuid.uuid4(), "elsewhere", uuid.uuid4()))
        await replica.reconcile()
        assert not socket.ended.done()


async def test_a_takeover_from_another_replica_is_announced_and_no_other(deployment: Deployment) -> None:
    announced: list[uuid.UUID] = []

    async def announce(connection_id: uuid.UUID) -> None:
        announced.append(connection_id)

    one, two = await deployment.replica("one"), await deployment.replica("two")
    one._claims._announce = two._claims._announce = announce
    async with connected(one, alive=False), one.slot(claims(), ORIGIN):
        assert announced == []
    async with connected(one, alive=False) as (slot, _), two.slot(claims(), ORIGIN):
        assert announced == [slot.connection_id]


async def test_a_takeover_that_cannot_be_announced_admits_nobody(deployment: Deployment) -> None:
    async def announce(_: uuid.UUID) -> None:
        raise Unavailable("the bus is unavailable")

    one, two = await deployment.replica("one"), await deployment.replica("two")
    two._claims._announce = announce
    async with connected(one, alive=False):
        with pytest.raises(Unavailable):
            async with two.slot(claims(), ORIGIN):
                pytest.fail("admitted")
    assert await deployment.registry.held_by(Node("two", 1)) == {}
