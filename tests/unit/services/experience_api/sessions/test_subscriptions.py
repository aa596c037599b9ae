import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence

import pytest

from services.experience_api.hub.audience import Subscriber, narrow
from services.experience_api.refusals import MALFORMED, NOT_CONNECTED, UNAVAILABLE, Refusal, Refused
from services.experience_api.registry.clients import ClientChange
from services.experience_api.registry.notices import Notice, SubscriptionRequest
from services.experience_api.sessions import subscriptions
from services.experience_api.sessions.changes import Change, wanted_of
from services.experience_api.sessions.connections import Connections
from services.experience_api.sessions.slots import ConnectionSlot
from shared.errors import Unavailable
from tests.unit.services.experience_api.sessions.replicas import OPTIONS, Deployment, a_deployment, connected


@pytest.fixture
async def deployment() -> AsyncIterator[Deployment]:
    async with a_deployment(OPTIONS) as deployment:
        await deployment.registry.change("demo", ClientChange(channels=("a", "b")))
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


async def test_few_changes_of_a_connection_that_does_not_read_are_kept(deployment: Deployment) -> None:
    one = await deployment.replica("one")
    async with connected(one) as (slot, socket), asyncio.TaskGroup() as group:
        admit(slot, "a")
        socket.reads = False
        change = Change(slot.connection_id, ("b",))
        tasks = [group.create_task(one.subscriptions.change("demo", change)) for _ in range(16)]
        while len(socket.pending) < 16:
            await asyncio.sleep(0)
        assert await refusal_of(one, change) is UNAVAILABLE
        assert len(socket.subscribed) == 16
        socket.pending.pop().set_result(b"cursor")
        await asyncio.sleep(0)
        tasks.append(group.create_task(one.subscriptions.change("demo", change)))
        while len(socket.pending) < 16:
            await asyncio.sleep(0)
        socket.reads = True
        for made in socket.pending:
            made.set_result(b"cursor")
    assert {task.result() for task in tasks} == {(("b",), "cursor")}
    assert not one.subscriptions._pending


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


async def test_an_answer_that_cannot_be_sent_is_logged_and_nothing_fails(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    one = await deployment.replica("one")

    async def unavailable(node: str, notice: Notice) -> None:
        raise Unavailable("the database does not answer")

    deployment.registry.leave = unavailable  # type: ignore[method-assign]
    await one.subscriptions.answer(SubscriptionRequest(uuid.uuid4(), uuid.uuid4(), "two", ("a",), (), ()))
    assert [record.message for record in caplog.records] == ["subscription answer failed"]


async def test_what_was_read_before_a_notice_arrived_is_out_of_date(deployment: Deployment) -> None:
    one = await deployment.replica("one")
    channels = deployment.registry.channels
    async with connected(one) as (slot, _):
        admit(slot, "a")

        async def overtaken(client_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
            found = await channels(client_ids)
            slot.grant(("b",))
            return found

        deployment.registry.channels = overtaken  # type: ignore[method-assign]
        await one.reconcile()
        assert list(slot.permitted) == ["b"]
        deployment.registry.channels = channels  # type: ignore[method-assign]
        await one.reconcile()
        assert list(slot.permitted) == ["a", "b"]
