import asyncio
from collections.abc import AsyncIterator

import pytest

from services.experience_api.hub.audience import interest_in
from services.experience_api.hub.close_codes import INTERNAL, REMOVED
from services.experience_api.stream.control_events import NOT_KEPT, TOPIC_REPLACED
from services.experience_api.wire.cursor import CursorCodec
from tests.unit.services.experience_api.events import events
from tests.unit.services.experience_api.hub.transports import FakeTransport
from tests.unit.services.experience_api.stream.snapshots.replica import Replica, cursors, texts


@pytest.fixture
async def replica() -> AsyncIterator[Replica]:
    async with Replica.opened() as replica:
        yield replica


async def test_the_latest_event_of_each_subject_comes_first_and_then_the_stream(replica: Replica) -> None:
    await replica.publish("1", "2", "3", "1", "2")
    transport, cursor = FakeTransport(), await replica.begin()
    connection = replica.connect(cursor, transport)
    position = connection.position
    assert position is not None
    assert (position().cursor.decode(), position().live, position().lag) == (cursor, False, 0)
    await replica.publish("3")
    await replica.until_done()
    await replica.publish("1")
    first, *snapshot, end, sixth, seventh = texts(transport)
    assert (first, snapshot[0], end, sixth, seventh) == ("trelay.connected", "begin", "end 2", "5", "6")
    assert sorted(snapshot[1:]) == ["3", "4"]  # event 2 is not the latest of its subject any more
    assert position().live
    assert events(transport.sent)[len(snapshot) + 1]["cursor"] == replica.codec.encode((5,)).decode()
    assert replica.snapshots.counts.begun == 1
    assert replica.snapshots.counts.events == 2


async def test_what_the_table_does_not_include_follows_the_snapshot(replica: Replica) -> None:
    await replica.publish("1", "2")
    await replica.publish("1", "3", copied=False)
    transport = FakeTransport()
    replica.connect(await replica.begin(), transport)
    await replica.until_done()
    *_, end, third, fourth = texts(transport)
    assert (end, third, fourth) == ("end 2", "2", "3")
    assert sorted(texts(transport)[2:4]) == ["0", "1"]
    begin = events(transport.sent)[1]["data"]
    assert begin["behind"] == 2
    assert begin["as_of"] == "1970-01-01T00:00:01.000Z"


async def test_a_snapshot_of_nothing_is_empty(replica: Replica) -> None:
    transport = FakeTransport()
    replica.connect(await replica.begin(), transport)
    await replica.until_done()
    assert texts(transport) == ["trelay.connected", "begin", "end 0"]
    begin = events(transport.sent)[1]["data"]
    assert begin == {"phase": "begin", "as_of": "1970-01-01T00:16:40.000Z", "behind": 0, "missed": 0}


async def test_a_client_that_is_lost_resumes_after_any_frame_and_receives_each_event_once(replica: Replica) -> None:
    await replica.publish("1", "2", "3", "4", "5")
    whole = FakeTransport()
    replica.connect(await replica.begin(), whole)
    await replica.until_done()
    await replica.publish("1", "6")
    expected = texts(whole)
    for number, cursor in enumerate(cursors(whole)):
        transport = FakeTransport()
        replica.connect(cursor, transport)
        await replica.until_done()
        received = expected[1 : number + 1] + texts(transport)[1:]
        kept = [each for each in received if not each.startswith("end")]
        left = set(expected[1:])
        # What is replaced meanwhile comes with the stream alone.
        assert sorted(set(kept)) == sorted(kept)
        assert {each for each in left if not each.startswith("end")} - set(kept) <= {"0"}


async def test_a_snapshot_waits_while_the_database_is_away(replica: Replica) -> None:
    await replica.publish("1", "2", "3")
    cursor, transport = await replica.begin(), FakeTransport()
    replica.latest.unavailable = 5
    replica.clock.pass_time(2)
    replica.connect(cursor, transport)
    await replica.until_done()
    assert texts(transport)[-1] == "end 3"
    assert replica.pauses == 5


async def test_a_snapshot_begins_again_where_the_table_is_copied_again(replica: Replica) -> None:
    await replica.publish("1", "2", "3")
    transport, stored = FakeTransport(), replica.latest.stored
    assert stored is not None
    again_from = stored._replace(view=stored.view._replace(version=2, positions=(1,)))
    replica.latest.on_page[1] = lambda: setattr(replica.latest, "stored", again_from)
    replica.connect(await replica.begin(), transport)
    await replica.until_done()
    found = texts(transport)
    again = found.index("begin the latest events are being copied again")
    assert found[again:] == ["begin the latest events are being copied again", "0", "end 1", "1", "2"]


async def test_a_change_of_channels_holds_from_the_next_page_on(replica: Replica) -> None:
    await replica.publish("1", "2", "3")
    transport = FakeTransport()
    connection = replica.connect(await replica.begin(), transport)
    made = replica.broadcast.subscribe(connection, interest_in(["b"]), "requested")
    await replica.until_done()
    cursor = await made
    assert cursor is not None
    assert texts(transport) == ["trelay.connected", "begin", "trelay.subscribed", "end 0"]
    assert events(transport.sent)[2]["cursor"] == cursor.decode()
    await replica.publish("1")
    assert len(texts(transport)) == 4


async def test_a_channel_that_is_not_kept_is_named_at_the_end(replica: Replica) -> None:
    await replica.publish("1", "2", "3")
    transport = FakeTransport()
    connection = replica.connect(await replica.begin(), transport)
    _ = replica.broadcast.subscribe(connection, interest_in(["a", "b", "c.*"]), "requested")
    await replica.until_done()
    assert texts(transport)[-1] == "end 3"
    assert events(transport.sent)[-1]["data"]["not_kept"] == ["b", "c.*"]


async def test_a_channel_that_is_added_before_the_place_has_its_whole_snapshot(replica: Replica) -> None:
    await replica.publish("1", "2", "3", "4", "5")
    transport = FakeTransport()
    connection = replica.connect(await replica.begin(), transport, filters={"a": "$event.subject != '1'"})

    def change() -> None:
        _ = replica.broadcast.subscribe(connection, interest_in(["a"]), "requested")

    replica.latest.on_page[1] = change
    await replica.until_done()
    found = texts(transport)
    again = found.index("begin other channels or filters were requested")
    assert found[again - 1] == "trelay.subscribed"
    assert found[-1] == "end 5"
    assert sorted(found[again + 1 : -1]) == ["0", "1", "2", "3", "4"]
    cursor = events(transport.sent)[again - 1]["cursor"]
    resumed = FakeTransport()
    replica.connect(cursor, resumed)
    await replica.until_done()
    assert texts(resumed)[1] == "begin", "what stores the cursor of the change resumes before every subject"
    assert texts(resumed)[-1] == "end 5"


async def test_a_change_at_the_end_of_a_snapshot_holds_from_the_stream_on(replica: Replica) -> None:
    await replica.publish("1", "2")
    transport = FakeTransport()
    connection = replica.connect(await replica.begin(), transport)
    made: list[asyncio.Future[bytes | None]] = []

    def change() -> None:
        made.append(replica.broadcast.subscribe(connection, interest_in(["b"]), "requested"))

    replica.latest.on_page[1] = change
    await replica.until_done()
    assert await made[0] == replica.codec.encode((2,))
    assert "trelay.subscribed" in texts(transport)
    assert connection.subscriber.interest == interest_in(["b"])


async def test_nothing_is_sent_to_a_connection_that_has_ended(replica: Replica) -> None:
    await replica.publish("1", "2")
    transport = FakeTransport()
    connection = replica.connect(await replica.begin(), transport)
    made = replica.broadcast.subscribe(connection, interest_in(["b"]), "requested")
    connection.end(REMOVED)
    await replica.until_done()
    assert await made is None
    assert texts(transport) == ["trelay.connected"]


async def test_a_recreated_topic_ends_a_snapshot_with_a_gap_and_retention_does_not(replica: Replica) -> None:
    await replica.publish("1", "2")
    transport = FakeTransport()
    connection = replica.connect(await replica.begin(), transport)
    replica.broadcast.on_gap(NOT_KEPT, "removed")
    assert replica.snapshots.active == 1
    made = replica.broadcast.subscribe(connection, interest_in(["b"]), "requested")
    replica.history.restart(CursorCodec("another", 1), (7,))
    replica.broadcast.on_gap(TOPIC_REPLACED, "recreated")
    await replica.until_done()
    assert await made is not None
    assert texts(transport) == ["trelay.connected", "gap topic-replaced", "trelay.subscribed"]
    assert replica.hub.is_live(connection)


async def test_conflation_begins_behind_the_snapshot(replica: Replica) -> None:
    await replica.publish("1", "2")
    transport = FakeTransport()
    replica.connect(await replica.begin(), transport, conflate=5.0)
    async with asyncio.timeout(60):
        while "end 2" not in texts(transport):
            await asyncio.sleep(0)
    await replica.publish("1", "1", "1")
    async with asyncio.timeout(60):
        while texts(transport)[-1] != "4":
            replica.clock.pass_time(1)
            await asyncio.sleep(0)
    assert texts(transport)[-2:] == ["end 2", "4"]


async def test_a_bug_ends_the_connection_alone(replica: Replica, caplog: pytest.LogCaptureFixture) -> None:
    await replica.publish("1")
    cursor = await replica.begin()
    replica.latest.stored = None
    connection = replica.connect(cursor, FakeTransport())
    await replica.until_done()
    async with asyncio.timeout(60):
        while not caplog.records:
            await asyncio.sleep(0)
    assert connection.ending is INTERNAL
    assert "task failed" in [each.message for each in caplog.records]
