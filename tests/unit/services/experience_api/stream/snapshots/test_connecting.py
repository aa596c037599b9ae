from collections.abc import AsyncIterator

import pytest

from services.experience_api.hub.audience import interest_in
from services.experience_api.refusals import Refused
from services.experience_api.stream.snapshots.connecting import Beginning
from services.experience_api.wire.snapshot_cursor import START, SnapshotCursor, read_cursor
from tests.unit.services.experience_api.stream.snapshots.replica import TOPIC, Replica

INTEREST = interest_in(["a"])


@pytest.fixture
async def replica() -> AsyncIterator[Replica]:
    async with Replica.opened() as replica:
        await replica.publish("1", "2")
        yield replica


def beginning(replica: Replica, *, ready: bool = True, snapshots: bool = True) -> Beginning:
    found = replica.snapshots if snapshots else None
    return Beginning(replica.log_reader, replica.history, found, lambda: ready)


async def test_a_cursor_comes_before_everything_else(replica: Replica) -> None:
    assert await beginning(replica, ready=False).cursor("c", 0.0) == "c"
    assert await beginning(replica, ready=False, snapshots=False).cursor("c", 0.0, INTEREST) == "c"
    assert await beginning(replica, ready=False).cursor(None, None) is None


async def test_a_snapshot_begins_at_the_positions_of_the_table(replica: Replica) -> None:
    cursor = await beginning(replica).cursor(None, None, INTEREST)
    found = read_cursor(replica.codec, cursor or "")
    assert isinstance(found, SnapshotCursor)
    assert (found.vector, found.place) == ((2,), START)


async def test_a_snapshot_comes_in_the_place_of_a_gap(replica: Replica) -> None:
    begins, fresh = beginning(replica), await replica.begin()
    kept, within = replica.codec.encode((1,)).decode(), fresh
    assert await begins.cursor(kept, None, INTEREST) == kept
    assert await begins.cursor(within, None, INTEREST) == within
    assert await begins.cursor("altered", None, INTEREST) == fresh
    replica.history.restart(replica.codec, (2,))
    assert await begins.cursor(kept, None, INTEREST) == kept  # the bus has it, if memory has not
    replica.bus.delete_records(TOPIC, 0, 2)
    assert await begins.cursor(kept, None, INTEREST) == fresh
    replica.bus.delete_topic(TOPIC)
    with pytest.raises(Refused) as refused:
        await begins.cursor(kept, None, INTEREST)
    assert refused.value.status == 503


async def test_without_latest_events_there_is_no_snapshot(replica: Replica) -> None:
    with pytest.raises(Refused, match=r"experience\.latest\.channels") as refused:
        await beginning(replica, snapshots=False).cursor(None, None, INTEREST)
    assert refused.value.status == 400


async def test_a_time_is_looked_up_once_the_stream_is_ready(replica: Replica) -> None:
    assert await beginning(replica).cursor(None, 0.0) == replica.codec.encode((0,)).decode()
    for interest in (None, INTEREST):
        with pytest.raises(Refused, match="starting") as refused:
            await beginning(replica, ready=False).cursor(None, None if interest else 0.0, interest)
        assert refused.value.status == 503
    replica.bus.delete_topic(TOPIC)
    with pytest.raises(Refused) as refused:
        await beginning(replica).cursor(None, 0.0)
    assert refused.value.status == 503
