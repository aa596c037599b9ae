import uuid
from collections.abc import AsyncIterator

import pytest

from services.experience_api.hub.audience import Subscriber, narrow
from services.experience_api.refusals import MALFORMED, NOT_CONNECTED, UNAVAILABLE, Refusal, Refused
from services.experience_api.registry.notices import Notice
from services.experience_api.sessions import subscriptions
from services.experience_api.sessions.changes import Change, wanted_of
from services.experience_api.sessions.connections import Connections
from services.experience_api.sessions.slots import ConnectionSlot
from tests.unit.services.experience_api.sessions.replicas import OPTIONS, Deployment, a_deployment, connected


@pytest.fixture
async def deployment() -> AsyncIterator[Deployment]:
    async with a_deployment(OPTIONS) as deployment:
        await deployment.registry.set_channels("demo", ["a", "b"])
        yield deployment


def admit(slot: ConnectionSlot, channels: str) -> None:
    assert slot.claim is not None
    who = slot.connection_id
    slot.admit(slot.claim, wanted_of(channels), lambda found: Subscriber(who, "demo", narrow(found, channels)))


async def refusal_of(replica: Connections, change: Change, client_id: str = "demo") -> Refusal:
    with pytest.raises(Refused) as refused:
        await replica.subscriptions.change(client_id, change)
    return refused.value.refusal


async def test_a_change_is_made_on_whichever_replica_the_connection_is(deployment: Deployment) -> None:
    one, two = await deployment.replica("one"), await deployment.replica("two")
    async with connected(one) as (slot, socket):
        assert await refusal_of(one, Change(slot.connection_id, ("b",))) is NOT_CONNECTED  # not admitted yet
        admit(slot, "a")
        for replica, channels in ((one, ("b",)), (two, ("a", "b"))):
            assert await replica.subscriptions.change("demo", Change(slot.connection_id, channels)) == (
                channels,
                "cursor",
            )
        assert socket.subscribed == [("b",), ("a", "b")]
        for replica in (one, two):
            assert await refusal_of(replica, Change(slot.connection_id, ("a,b",))) is MALFORMED
            assert await refusal_of(replica, Change(uuid.uuid4(), ("a",))) is NOT_CONNECTED
            assert await refusal_of(replica, Change(slot.connection_id, ("a",)), "other") is NOT_CONNECTED
        socket.cursor = None
        assert await refusal_of(two, Change(slot.connection_id, ("a",))) is NOT_CONNECTED


async def test_a_replica_that_does_not_answer_is_not_waited_for(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "_ANSWER_TIMEOUT", 0.05)
    one, two = await deployment.replica("one"), await deployment.replica("two")

    async def lost(node: str, notice: Notice) -> None:
        """Keep nothing."""

    async with connected(one) as (slot, _):
        deployment.registry.leave = lost  # type: ignore[method-assign]
        assert await refusal_of(two, Change(slot.connection_id, ("b",))) is UNAVAILABLE
