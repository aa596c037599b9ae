import uuid
from collections.abc import AsyncIterator

import pytest

from services.experience_api.hub.audience import Subscriber, narrow
from services.experience_api.registry.notices import DetailsRequest, DetailsResult, Notice
from services.experience_api.sessions import details
from services.experience_api.sessions.changes import wanted_of
from services.experience_api.sessions.slots import ConnectionSlot
from shared.errors import Unavailable
from tests.unit.services.experience_api.sessions.replicas import OPTIONS, Deployment, a_deployment, connected


@pytest.fixture
async def deployment() -> AsyncIterator[Deployment]:
    async with a_deployment(OPTIONS) as deployment:
        yield deployment


def admit(slot: ConnectionSlot) -> None:
    assert slot.claim is not None
    who = slot.connection_id
    slot.admit(slot.claim, wanted_of("a"), lambda _: Subscriber(who, "demo", narrow(("a",), "a")))


async def test_a_connection_is_described_on_whichever_replica_it_is(deployment: Deployment) -> None:
    one, two = await deployment.replica("one"), await deployment.replica("two")
    async with connected(one) as (slot, _):
        admit(slot)
        unknown = uuid.uuid4()
        for replica in (one, two):
            found = await replica.details.of({"one": [slot.connection_id, unknown]})
            assert list(found) == [slot.connection_id]
            assert (found[slot.connection_id].cursor, found[slot.connection_id].lag) == ("cursor", 2)
        assert await one.details.of({}) == {}


async def test_a_replica_that_does_not_answer_is_not_waited_for(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(details, "_ANSWER_TIMEOUT", 0.05)
    one = await deployment.replica("one")
    async with connected(one) as (slot, _):
        admit(slot)
        asked = {"gone": [uuid.uuid4()], "one": [slot.connection_id]}
        assert list(await one.details.of(asked)) == [slot.connection_id]
    one.details.on_result(DetailsResult(uuid.uuid4(), ()))  # too late


async def test_an_answer_that_cannot_be_stored_is_logged(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = await deployment.replica("one")

    async def leave(_node: str, _notice: Notice) -> None:
        raise Unavailable("the registry is unavailable")

    monkeypatch.setattr(deployment.registry, "leave", leave)
    await one.details.answer(DetailsRequest(uuid.uuid4(), "two", ()))
    assert "details of connections not answered" in caplog.text
