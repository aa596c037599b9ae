from collections.abc import AsyncIterator

import pytest

from services.experience_api.hub.audience import interest_in
from services.experience_api.refusals import Refused
from services.experience_api.stream.snapshots.paging import digest_of
from services.experience_api.wire.snapshot_cursor import START, Place, SnapshotCursor
from shared.errors import Unavailable
from tests.unit.services.experience_api.stream.snapshots.replica import TOPIC, Replica

INTEREST = interest_in(["a"])
PLACE = Place("a", bytes(16))


@pytest.fixture
async def replica() -> AsyncIterator[Replica]:
    async with Replica.opened() as replica:
        yield replica


def cursor(offset: int, interest: bytes = digest_of(INTEREST), place: Place = PLACE) -> SnapshotCursor:
    return SnapshotCursor((offset,), interest, place)


async def reason(replica: Replica, found: SnapshotCursor) -> str:
    return (await replica.snapshots.beginnings.paging(found, INTEREST))[1]


async def test_a_channel_whose_latest_events_are_not_kept_is_refused(replica: Replica) -> None:
    with pytest.raises(Refused, match=r"channel 'b' are not kept.*experience\.latest\.channels") as refused:
        await replica.begin("a", "b")
    assert refused.value.status == 400


async def test_a_database_that_does_not_answer_or_has_nothing_yet_is_waited_for(replica: Replica) -> None:
    replica.latest.unavailable = 1
    with pytest.raises(Refused, match="database is away") as refused:
        await replica.begin()
    assert (refused.value.status, refused.value.retry_after) == (503, 1.0)
    with pytest.raises(Refused, match="database is away"):
        await replica.begin()  # shares the failure, and does not wait for another one
    replica.clock.pass_time(1.1)
    replica.latest.stored = None
    with pytest.raises(Refused, match="no latest events"):
        await replica.begin()


async def test_connections_at_the_same_time_share_what_was_read(replica: Replica) -> None:
    await replica.publish("1")
    first = await replica.begin()
    replica.latest.unavailable = 1
    assert await replica.begin() == first
    replica.latest.unavailable = 0
    await replica.publish("2")
    assert await replica.begin() == first
    replica.clock.pass_time(1.1)
    assert await replica.begin() != first


async def test_events_of_another_topic_are_not_sent(replica: Replica) -> None:
    assert replica.latest.stored is not None
    view = replica.latest.stored.view._replace(epoch="another")
    replica.latest.stored = replica.latest.stored._replace(view=view)
    with pytest.raises(Unavailable, match="before it was recreated"):
        await replica.snapshots.beginnings.view()


async def test_a_snapshot_goes_on_at_its_place(replica: Replica) -> None:
    await replica.publish("1", "2")
    paging, lost = await replica.snapshots.beginnings.paging(cursor(1), INTEREST)
    assert (paging.vector, paging.place, lost) == ((1,), PLACE, "")


async def test_a_snapshot_of_other_channels_begins_again(replica: Replica) -> None:
    await replica.publish("1", "2")
    paging, lost = await replica.snapshots.beginnings.paging(cursor(1, b"else"), INTEREST)
    assert (paging.vector, paging.place) == ((2,), START)
    assert lost == "other channels or filters were requested"
    assert await reason(replica, cursor(1, b"else", START)) == ""


async def test_a_snapshot_ahead_of_what_is_copied_begins_again_unless_the_table_is_just_further(
    replica: Replica,
) -> None:
    await replica.publish("1")
    assert await reason(replica, cursor(1)) == ""
    await replica.publish("2")
    assert await reason(replica, cursor(2)) == ""
    assert await reason(replica, cursor(3)) == "the latest events are being copied again"


async def test_a_snapshot_whose_stream_is_no_longer_kept_begins_again(replica: Replica) -> None:
    await replica.publish("1", "2", "3")
    replica.history.restart(replica.codec, (3,))
    assert await reason(replica, cursor(1)) == ""  # the bus has it, if memory has not
    replica.bus.delete_records(TOPIC, 0, 2)
    assert await reason(replica, cursor(1)) == "the events since it began are no longer kept"
