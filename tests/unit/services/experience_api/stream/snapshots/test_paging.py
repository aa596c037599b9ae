"""A model of snapshots that are read while events come, subjects are deleted, and connections are lost."""

import asyncio
import json
from itertools import chain
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.experience_api.hub.audience import Interest, interest_in
from services.experience_api.latest.subjects import Batch, Kept
from services.experience_api.latest.view import Page, Row, View
from services.experience_api.stream.snapshots.paging import Paging, digest_of
from services.experience_api.wire.cursor import CursorCodec
from services.experience_api.wire.snapshot_cursor import START, Place, SnapshotCursor, read_cursor
from shared.bus.memory.log import MemoryRecord
from tests.unit.services.experience_api.events import event
from tests.unit.services.experience_api.latest.memory import MemoryLatest

CODEC = CursorCodec("e", 2)
CHANNELS = ("a.x", "a.y", "b")
KEPT = Kept(["**"], ["deleted"])
Subject = tuple[str, str]

publish = st.tuples(st.just("publish"), st.sampled_from(CHANNELS), st.sampled_from("1234"), st.booleans())
copy = st.tuples(st.just("copy"), st.sampled_from([0, 1]), st.integers(1, 3))
operations = st.lists(st.one_of(publish, copy, st.just(("page",)), st.just(("lost",))), max_size=40)


class Model:
    """A log of two partitions, the table that is copied from it, and one subscriber."""

    def __init__(self, interest: Interest) -> None:
        self.interest = interest
        self.latest = MemoryLatest(rows_of_a_page=2)
        self.logs: dict[int, list[MemoryRecord]] = {0: [], 1: []}
        self.view = asyncio.run(self.latest.begin("e", {0: (0, 0), 1: (0, 0)}, KEPT, shorter=False))
        self.seen: list[tuple[Subject, int, int, bool]] = []
        self.paging: Paging | None = None

    def publish(self, channel: str, subject: str, deleted: bool) -> None:
        partition = CHANNELS.index(channel) % 2
        log = self.logs[partition]
        value = {"source": "/s", "subject": subject, "type": "deleted" if deleted else "state", "channel": channel}
        text = msgspec.json.encode({**value, "data": [partition, len(log)]})
        log.append(MemoryRecord("t", partition, len(log), 1, channel.encode(), text, ()))

    def copy(self, partition: int, count: int) -> None:
        positions = dict(enumerate(self.positions))
        batch = Batch(positions)
        for record in self.logs[partition][positions[partition] : positions[partition] + count]:
            batch.add(record, KEPT.change(record), record.timestamp)
        asyncio.run(self.latest.write(self.view, batch))

    @property
    def positions(self) -> tuple[int, ...]:
        assert self.latest.stored is not None
        return self.latest.stored.view.positions

    def page(self) -> None:
        if self.paging is None:
            self.paging = Paging(CODEC, self.view, self.positions, self.interest)
        if (wanted := self.paging.wanted) is not None:
            page = asyncio.run(self.latest.page(*wanted, 1000))
            assert self.paging.fits(page)
            for frame in chain.from_iterable(self.paging.take(page)):
                self._see(event(frame))

    def lost(self) -> None:
        """Lose the connection, and resume from the cursor."""
        if self.paging is None:
            return
        found = read_cursor(CODEC, self.paging.cursor.decode())
        if isinstance(found, SnapshotCursor):
            assert found.interest == digest_of(self.interest)
            self.paging = Paging(CODEC, self.view, found.vector, self.interest, found.place)

    def finish(self) -> None:
        """Read what is left of the snapshot, and then the stream."""
        self.page()
        assert self.paging is not None
        while self.paging.wanted is not None:
            self.page()
        vector = read_cursor(CODEC, self.paging.cursor.decode())
        assert vector == self.paging.vector
        for partition, log in self.logs.items():
            for record in log[self.paging.vector[partition] :]:
                if self.interest.matches(record.key or b""):
                    self._see(json.loads(record.value or b""))

    def _see(self, found: dict[str, Any]) -> None:
        partition, offset = found["data"]
        self.seen.append(((found["channel"], found["subject"]), partition, offset, found["type"] == "deleted"))


def folded(events: list[tuple[Subject, int, int, bool]]) -> dict[Subject, int]:
    state: dict[Subject, int] = {}
    for subject, _, offset, deleted in events:
        state.pop(subject, None)
        if not deleted:
            state[subject] = offset
    return state


@settings(max_examples=300, deadline=None)
@given(operations, st.sampled_from([["**"], ["a.*"], ["a.x", "b"], ["b"]]))
def test_the_state_of_a_subscriber_is_the_truth_without_a_gap_and_without_a_repetition(
    found: list[tuple[Any, ...]], patterns: list[str]
) -> None:
    model = Model(interest_in(patterns))
    for name, *arguments in found:
        getattr(model, name)(*arguments)
    model.finish()
    truth = [
        ((event["channel"], event["subject"]), 0, record.offset, event["type"] == "deleted")
        for log in model.logs.values()
        for record in log
        if model.interest.matches(record.key or b"")
        for event in [json.loads(record.value or b"")]
    ]
    assert folded(model.seen) == folded(truth)
    places = [(partition, offset) for _, partition, offset, _ in model.seen]
    assert len(set(places)) == len(places)
    for subject in {each[0] for each in model.seen}:
        offsets = [offset for other, _, offset, _ in model.seen if other == subject]
        assert offsets == sorted(offsets)


VIEW = View("e", 2, 1, (5, 5), 0, 0)


def row(channel: str, generation: int = 2, offset: int = 3, event: bytes = b'{"data":{"total":7}}') -> Row:
    return Row(Place(channel, bytes(16)), generation, 0, offset, event)


def frames(paging: Paging, *rows: Row) -> list[int]:
    found = chain.from_iterable(paging.take(Page(rows, complete=False, version=1)))
    return [each["data"]["total"] for each in map(event, found)]


def test_an_event_of_an_earlier_generation_is_older_than_the_stream() -> None:
    paging = Paging(CODEC, VIEW, VIEW.positions, interest_in(["**"]))
    assert frames(paging, row("a", 1, 900), row("b", 2, 5), row("c", 2, 4)) == [7, 7]


def test_filters_hold_and_what_is_malformed_or_of_other_channels_is_left_out() -> None:
    paging = Paging(CODEC, VIEW, VIEW.positions, interest_in(["a.*"], {"a.*": "total > 10"}))
    rows = [row("a.b"), row("a.b", event=b'{"data":{"total":11}}'), row("a.c", event=b"[]"), row("c")]
    assert frames(paging, *rows) == [11]
    assert paging.count == 1
    assert paging.place.channel == "c"


def test_other_channels_are_received_from_the_place_on() -> None:
    paging = Paging(CODEC, VIEW, VIEW.positions, interest_in(["a", "b", "c"]))
    frames(paging, row("b"))
    paging.select(interest_in(["a", "d"]))
    assert paging.wanted is not None
    assert paging.wanted.within.low == "d"
    paging.select(interest_in([]))
    assert paging.wanted is None
    assert paging.cursor == CODEC.encode(VIEW.positions)


MORE_THAN_TEN = {"x.*": "total > 10"}


@pytest.mark.parametrize(
    ("place", "patterns", "filters", "complete"),
    [
        ("c", ["b", "c"], {}, True),
        ("c", ["b", "z"], {}, True),
        ("c", ["c"], {"c": "total > 1"}, True),
        ("c", ["b", "x.*"], {}, True),
        ("c", ["a", "b"], {}, False),
        ("c", ["**"], {}, False),
        ("x.y", ["x.*"], MORE_THAN_TEN, True),
        ("x.y", ["x.a"], {"x.a": "total > 10"}, True),
        ("x.y", ["x.z"], {}, True),
        ("x.y", ["x.*"], {}, False),
        ("x.y", ["x.a"], {}, False),
    ],
)
def test_it_goes_on_where_all_that_is_asked_for_was_sent_and_begins_again_otherwise(
    place: str, patterns: list[str], filters: dict[str, str], complete: bool
) -> None:
    paging = Paging(CODEC, VIEW, VIEW.positions, interest_in(["b", "c", "x.*"], MORE_THAN_TEN))
    assert paging.select(interest_in(["a", "b", "c", "x.*"], MORE_THAN_TEN)), "nothing was sent"
    paging = Paging(CODEC, VIEW, VIEW.positions, interest_in(["b", "c", "x.*"], MORE_THAN_TEN))
    frames(paging, row(place))
    assert paging.select(interest_in(patterns, filters)) is complete
    assert paging.place.channel == (place if complete else "")
    if not complete:
        found = read_cursor(CODEC, paging.cursor.decode())
        assert isinstance(found, SnapshotCursor)
        assert (found.place, found.interest) == (START, digest_of(paging.interest)), "a connection that resumes, too"


def test_a_page_of_another_version_does_not_fit() -> None:
    paging = Paging(CODEC, VIEW, VIEW.positions, interest_in(["a"]))
    assert not paging.fits(Page([], complete=True, version=2))
    assert paging.place == START


def test_rows_are_taken_a_few_at_a_time() -> None:
    paging = Paging(CODEC, VIEW, VIEW.positions, interest_in(["a"]))
    rows = [row("a") for _ in range(70)]
    assert [len(few) for few in paging.take(Page(rows, complete=True, version=1))] == [32, 32, 6]
    assert (paging.count, paging.wanted) == (70, None)
