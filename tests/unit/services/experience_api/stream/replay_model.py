"""A model of a deployment in memory: a log, the replicas that read it, and the subscribers that they feed."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

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
    who: object | None = None
    """Equal for all with the same channels, where blocks keep what they select; else None."""
    received: list[str] = field(default_factory=list)
    wire: list[bytes] = field(default_factory=list)
    at: Replica | None = None
    replay: Replay | None = None

    def matches(self, channel: bytes) -> bool:
        return channel.decode() in self.channels

    def connect(self, replica: Replica) -> None:
        self.at = replica
        self.replay = Replay(replica.history, CODEC.decode(self.cursor), self.matches, who=self.who)

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
        self.replay = Replay(self.at.history, self.at.history.head, self.matches, who=self.who)

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
