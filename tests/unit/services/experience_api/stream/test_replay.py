"""Replays, single and in a model of a whole deployment: replicas, restarts, lag, and cursors that change replica."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.experience_api.stream.history import History, HistoryOptions
from services.experience_api.stream.replay import Progress, Replay
from services.experience_api.wire.cursor import CursorCodec, Vector
from services.experience_api.wire.records import FrameEncoder
from shared.bus.memory.log import MemoryRecord
from tests.unit.services.experience_api.events import event
from tests.unit.services.experience_api.records import record

PARTITIONS = 3
CODEC = CursorCodec("epoch", PARTITIONS)
CHANNELS = {"a": 0, "b": 1, "c": 2, "d": 0}
"""The partition of each channel."""


def decoded(frame: bytes) -> tuple[str, Vector]:
    """Return the id and the cursor of a frame."""
    found = event(frame)
    return found["id"], CODEC.decode(found["cursor"])


def everything(_channel: bytes) -> bool:
    return True


@dataclass(eq=False)
class Log:
    """The publish topic: records by partition, with unused offsets where transactions end."""

    records: list[list[MemoryRecord]] = field(default_factory=lambda: [[] for _ in range(PARTITIONS)])
    ends: list[int] = field(default_factory=lambda: [0] * PARTITIONS)

    def publish(self, channel: str, hole: int = 0) -> None:
        partition = CHANNELS[channel]
        offset = self.ends[partition]
        self.records[partition].append(record(channel, offset, partition))
        self.ends[partition] = offset + 1 + hole

    def read(self, positions: dict[int, int], partition: int, limit: int) -> list[MemoryRecord]:
        """Read one partition further, and advance over the hole at its end as a reader does."""
        found = [kept for kept in self.records[partition] if kept.offset >= positions[partition]][:limit]
        if found:
            positions[partition] = found[-1].offset + 1
        if not any(kept.offset >= positions[partition] for kept in self.records[partition]):
            positions[partition] = self.ends[partition]
        return found

    def ids(self, channels: Iterable[str]) -> dict[str, list[str]]:
        return {
            channel: [
                json.loads(kept.value or b"")["id"]
                for kept in self.records[CHANNELS[channel]]
                if kept.key == channel.encode()
            ]
            for channel in channels
        }


@dataclass(eq=False)
class Replica:
    """One replica: its history, and the positions of its feed."""

    log: Log
    limit: int
    history: History = field(init=False)
    positions: dict[int, int] = field(init=False)
    live: list["Subscriber"] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.history = History(CODEC, tuple(self.log.ends), HistoryOptions(limit_bytes=self.limit))
        self.positions = dict(enumerate(self.log.ends))
        self.encoder = FrameEncoder(CODEC, tuple(self.log.ends))

    def feed(self, partition: int, limit: int) -> None:
        records = self.log.read(self.positions, partition, limit)
        for batch in self.encoder.batches(records):
            self.history.extend(batch)
            for subscriber in self.live:
                subscriber.wire += [
                    frame
                    for frame, channel in zip(batch.frames, batch.channels, strict=True)
                    if subscriber.matches(channel)
                ]
        self.encoder.advance(self.positions)
        self.history.advance(self.positions)


@dataclass(eq=False)
class Subscriber:
    """One consumer: what it has received, and what has been sent to it."""

    channels: frozenset[str]
    cursor: str
    received: list[str] = field(default_factory=list)
    wire: list[bytes] = field(default_factory=list)
    at: Replica | None = None
    replay: Replay | None = None

    def matches(self, channel: bytes) -> bool:
        return channel.decode() in self.channels

    def connect(self, replica: Replica) -> None:
        self.at = replica
        self.replay = Replay(replica.history, CODEC.decode(self.cursor), self.matches)

    def step(self, budget: int) -> None:
        """Do one step of what the service does for a connection that is not live."""
        assert self.at is not None
        assert self.replay is not None
        frames, progress = self.replay.take(budget)
        self.wire += frames
        if progress is Progress.READ_LOG:
            assert not frames
            self.read_bus(budget)
        elif progress is Progress.LIVE:
            self.replay = None
            self.at.live.append(self)

    def read_bus(self, limit: int) -> None:
        assert self.at is not None
        assert self.replay is not None
        positions = self.replay.missing()
        assert positions
        for partition in sorted(positions):
            found = self.at.log.read(positions, partition, limit)
            self.wire += self.replay.add(found, positions)

    def receive(self, number: int) -> None:
        for frame in self.wire[:number]:
            identity, vector = decoded(frame)
            self.received.append(identity)
            self.cursor = CODEC.encode(vector).decode()
        del self.wire[:number]

    def fall_behind(self) -> None:
        """Its outbox is full: what is on the wire stays, later events are read again."""
        assert self.at is not None
        self.at.live.remove(self)
        self.replay = Replay(self.at.history, self.at.history.head, self.matches)

    def disconnect(self) -> None:
        """Lose what it has not received."""
        assert self.at is not None
        if self.replay is None:
            self.at.live.remove(self)
        self.at = self.replay = None
        self.wire = []

    def check(self, log: Log) -> None:
        """Assert exactly once, order by channel, and a cursor that matches what was received."""
        expected = log.ids(self.channels)
        of_channel: dict[str, list[str]] = {channel: [] for channel in self.channels}
        by_id = {identity: channel for channel, ids in expected.items() for identity in ids}
        for identity in self.received:
            of_channel[by_id[identity]].append(identity)
        vector = CODEC.decode(self.cursor)
        for channel, ids in of_channel.items():
            partition = CHANNELS[channel]
            assert ids == [
                identity for identity in expected[channel] if int(identity.partition("/")[2]) < vector[partition]
            ]


class Deployment(RuleBasedStateMachine):
    """Two replicas, one with a small history, and three subscribers, in any order of events."""

    def __init__(self) -> None:
        super().__init__()
        self.log = Log()
        self.replicas = [Replica(self.log, limit) for limit in (1024, 100_000)]
        begin = CODEC.encode((0,) * PARTITIONS).decode()
        self.subscribers = [Subscriber(frozenset(channels), begin) for channels in ("ab", "abcd", "cd")]
        for number, subscriber in enumerate(self.subscribers):
            subscriber.connect(self.replicas[number % 2])

    subscriber = st.integers(0, 2)
    replica = st.integers(0, 1)
    partition = st.integers(0, PARTITIONS - 1)

    @rule(channel=st.sampled_from("abcd"), number=st.integers(1, 10), hole=st.integers(0, 2))
    def publish(self, channel: str, number: int, hole: int) -> None:
        for _ in range(number):
            self.log.publish(channel, hole)

    @rule(number=replica, partition=partition, limit=st.integers(1, 20))
    def feed(self, number: int, partition: int, limit: int) -> None:
        self.replicas[number].feed(partition, limit)

    @rule(channel=st.sampled_from("abcd"), number=replica)
    def publish_and_feed(self, channel: str, number: int) -> None:
        self.log.publish(channel)
        self.replicas[number].feed(CHANNELS[channel], 3)

    @rule(number=subscriber, where=replica, received=st.integers(0, 30))
    def move(self, number: int, where: int, received: int) -> None:
        subscriber = self.subscribers[number]
        subscriber.receive(received)
        subscriber.disconnect()
        subscriber.connect(self.replicas[where])

    @rule(number=subscriber, budget=st.integers(1, 600), times=st.integers(1, 10))
    def step(self, number: int, budget: int, times: int) -> None:
        for _ in range(times):
            if self.subscribers[number].replay is not None:
                self.subscribers[number].step(budget)

    @rule(number=subscriber, frames=st.integers(1, 40))
    def receive(self, number: int, frames: int) -> None:
        self.subscribers[number].receive(frames)

    @rule(number=subscriber)
    def fall_behind(self, number: int) -> None:
        if self.subscribers[number].replay is None:
            self.subscribers[number].fall_behind()

    @rule(number=replica)
    def restart(self, number: int) -> None:
        moved = [subscriber for subscriber in self.subscribers if subscriber.at is self.replicas[number]]
        for subscriber in moved:
            subscriber.disconnect()
        self.replicas[number].restart()
        for subscriber in moved:
            subscriber.connect(self.replicas[number])

    @invariant()
    def every_subscriber_has_received_what_its_cursor_says(self) -> None:
        for subscriber in self.subscribers:
            subscriber.check(self.log)

    def teardown(self) -> None:
        """Assert that in the end every subscriber has received every event."""
        for replica in self.replicas:
            for partition in range(PARTITIONS):
                while replica.positions[partition] < self.log.ends[partition]:
                    replica.feed(partition, 7)
        for subscriber in self.subscribers:
            for _ in range(10_000):
                if subscriber.replay is None:
                    break
                subscriber.step(300)
            assert subscriber.replay is None
            subscriber.receive(len(subscriber.wire))
            subscriber.check(self.log)
            vector = CODEC.decode(subscriber.cursor)
            for channel in subscriber.channels:
                received = [
                    identity for identity in self.log.ids([channel])[channel] if identity in subscriber.received
                ]
                assert received == self.log.ids([channel])[channel], vector


TestDeployment = Deployment.TestCase
TestDeployment.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)


@pytest.fixture
def log() -> Log:
    return Log()


def replica_with(log: Log, *, limit: int = 100_000, events: int = 10, batch: int = 20) -> Replica:
    """Return a replica that has read some events of channels a and b."""
    replica = Replica(log, limit)
    for _ in range(events):
        log.publish("a")
        log.publish("b")
    for partition in (0, 1):
        while replica.positions[partition] < log.ends[partition]:
            replica.feed(partition, batch)
    return replica


def test_a_replay_at_the_head_is_live_at_once(log: Log) -> None:
    replica = replica_with(log)
    replay = Replay(replica.history, replica.history.head, everything)
    assert replay.take(1000) == ([], Progress.LIVE)
    assert replay.missing() == {}
    assert not replay.ahead


def test_a_replay_that_is_ahead_nowhere_takes_the_shared_frames(log: Log) -> None:
    replica = replica_with(log)
    replay = Replay(replica.history, (3, 0, 0), everything)
    kept = replica.history.block_at(0)
    assert kept is not None
    frames, progress = replay.take(10**6)
    assert all(frame is shared for frame, shared in zip(frames, kept.frames[3:], strict=True))
    assert progress is Progress.LIVE


def test_the_frames_of_a_replay_that_is_ahead_carry_both_vectors(log: Log) -> None:
    replica = replica_with(log)
    replay = Replay(replica.history, (8, 5, 0), everything)
    vectors = [decoded(frame) for frame in replay.take(10**6)[0]]
    assert vectors[:3] == [("0/8", (9, 5, 0)), ("0/9", (10, 5, 0)), ("1/5", (10, 6, 0))]


@pytest.mark.parametrize("ahead", [0, 7])
def test_the_budget_limits_what_is_taken_and_nothing_is_skipped(log: Log, ahead: int) -> None:
    replica = replica_with(log, limit=40_000, events=100)  # blocks of about 5,000 bytes
    replay = Replay(replica.history, (0, ahead, 0), everything)
    taken: list[bytes] = []
    progress = Progress.TAKE
    while progress is Progress.TAKE:
        frames, progress = replay.take(100)
        assert 1 <= len(frames) <= 60
        taken += frames
    assert progress is Progress.LIVE
    assert [decoded(frame)[0] for frame in taken] == [
        f"{partition}/{number}" for partition, first in ((0, 0), (1, ahead)) for number in range(first, 100)
    ]


def test_a_step_is_short_if_few_events_match(log: Log) -> None:
    replica = replica_with(log, limit=4_000_000, events=10_000, batch=500)
    replay = Replay(replica.history, (0, 0, 0), lambda channel: channel == b"other")
    steps = 0
    while (found := replay.take(10_000)) != ([], Progress.LIVE):
        assert found == ([], Progress.TAKE)
        steps += 1
    assert steps >= 2


def test_a_replay_that_is_ahead_of_this_replica_waits_for_it(log: Log) -> None:
    replica = replica_with(log)
    replay = Replay(replica.history, (12, 10, 0), everything)
    assert replay.take(1000) == ([], Progress.WAIT)
    assert replay.ahead
    for _ in range(4):
        log.publish("a")
    replica.feed(0, 20)
    frames, progress = replay.take(1000)
    assert [decoded(frame) for frame in frames] == [("0/12", (13, 10, 0)), ("0/13", (14, 10, 0))]
    assert progress is Progress.LIVE


def test_only_partitions_that_memory_has_dropped_are_missing(log: Log) -> None:
    replica = replica_with(log, limit=1024, events=2000, batch=300)
    tail = replica.history.tail
    assert tail[0] == 2000
    replay = Replay(replica.history, (1, tail[1] + 5, 0), everything)
    assert replay.missing() == {0: 1}
    assert replay.needs([0, 1])
    assert not replay.needs([1, 2])
    assert replay.take(1000) == ([], Progress.READ_LOG)


def test_malformed_records_of_the_bus_are_skipped(log: Log) -> None:
    replica = replica_with(log, limit=1024, events=2000, batch=300)
    replay = Replay(replica.history, (0, 0, 0), everything)
    frames = replay.add([record("a", 0, value=b"\xff"), record("a", 1)], {0: 5})
    assert [decoded(frame) for frame in frames] == [("0/1", (2, 0, 0))]
    assert replay.missing()[0] == 5


def test_a_record_read_twice_from_the_bus_is_sent_once(log: Log) -> None:
    replica = replica_with(log, limit=1024, events=2000, batch=300)
    replay = Replay(replica.history, (0, 0, 0), everything)
    assert len(replay.add([record("a", 0), record("a", 1)], {})) == 2
    assert [decoded(frame)[0] for frame in replay.add([record("a", 1), record("a", 2)], {})] == ["0/2"]


def test_a_cursor_beyond_the_end_of_the_log_is_moved_back(log: Log) -> None:
    replica = replica_with(log)
    replay = Replay(replica.history, (12, 10, 0), everything)
    assert replay.beyond({0: 10, 1: 10, 2: 0}) == [0]
    replay.skip(0, 10)
    assert CODEC.decode(replay.cursor.decode()) == (10, 10, 0)
    assert replay.take(1000) == ([], Progress.LIVE)


def test_a_replay_from_memory_skips_channels_that_do_not_match(log: Log) -> None:
    replica = Replica(log, 100_000)
    for channel in ("a", "d", "b", "a"):
        log.publish(channel)
    for partition in (0, 1):
        replica.feed(partition, 20)
    replay = Replay(replica.history, (0, 1, 0), lambda channel: channel != b"d")
    frames, progress = replay.take(10**6)
    assert [decoded(frame)[0] for frame in frames] == ["0/0", "0/2"]
    assert progress is Progress.LIVE
