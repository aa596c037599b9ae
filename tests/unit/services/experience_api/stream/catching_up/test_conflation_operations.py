"""Conflation in a model of a whole deployment: the latest event of each subject always arrives, and nothing twice."""

import json
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.experience_api.stream.catching_up.conflation import Round, SharedRounds
from services.experience_api.stream.replay import Progress, Replay
from services.experience_api.wire.cursor import Vector
from tests.unit.services.experience_api.records import record
from tests.unit.services.experience_api.stream.replay_model import (
    CHANNELS,
    CODEC,
    PARTITIONS,
    Log,
    Replica,
    decoded,
)

Key = tuple[str, str]


@dataclass(eq=False)
class SubjectLog(Log):
    """A log whose events have subjects."""

    def publish_of(self, channel: str, subject: str, hole: int) -> None:
        partition = CHANNELS[channel]
        offset = self.ends[partition]
        event = {"id": f"{partition}/{offset}", "channel": channel, "source": "/s", "subject": subject}
        self.records[partition].append(record(channel, offset, partition, json.dumps(event).encode()))
        self.ends[partition] = offset + 1 + hole

    def events(self) -> list[tuple[Key, int, int]]:
        """Return the subject, partition and offset of each event."""
        found = []
        for records in self.records:
            for kept in records:
                event = json.loads(kept.value or b"")
                found.append(((event["channel"], event["subject"]), kept.partition, kept.offset))
        return found


@dataclass(eq=False)
class Conflated:
    """One consumer with conflation: what `Rounds` does for it, without time."""

    channels: frozenset[str]
    cursor: str
    limit: int
    received: list[str] = field(default_factory=list)
    wire: list[bytes] = field(default_factory=list)
    at: Replica | None = None
    replay: Replay | None = None
    round: Round = field(init=False)

    def matches(self, channel: bytes) -> bool:
        return channel.decode() in self.channels

    def connect(self, replica: Replica) -> None:
        self.at = replica
        self.replay = Replay(replica.history, CODEC.decode(self.cursor), self.matches)
        self.round = Round(self.limit)
        self.wire = []

    def take_round(self, budget: int, times: int, shared: SharedRounds[tuple[object, ...]]) -> None:
        """Take a round of at most so many steps, or the same one as another connection has taken."""
        assert self.at is not None
        assert self.replay is not None
        first = self.replay.place if self.round.empty else None
        key = self.at, self.channels, first
        if first is not None and (taken := shared.find((*key, self.replay.end))) is not None:
            self.round.repeat(taken)
            self.replay.pass_all()
            return
        for _ in range(times):
            reads = bool(self.replay.missing())
            if self.collect(budget):
                if first is not None and not reads and self.replay.place == self.replay.end:
                    shared.keep((*key, self.replay.end), self.round.taken)
                return
            if self.round.full:
                return
            first = None if reads else first

    def collect(self, budget: int) -> bool:
        """Take one step of a round; return whether the round has all there is."""
        assert self.at is not None
        assert self.replay is not None
        frames, progress = self.replay.take(budget)
        self.round.add(frames)
        if progress is Progress.READ_LOG:
            positions = self.replay.missing()
            for partition in sorted(positions):
                found = self.at.log.read(positions, partition, budget)
                self.round.add(self.replay.add(found, positions))
        return progress in {Progress.LIVE, Progress.WAIT}

    def write(self) -> None:
        self.wire += self.round.take()

    def receive(self, number: int) -> None:
        for frame in self.wire[:number]:
            identity, vector = decoded(frame)
            assert identity not in self.received, "an event arrived twice"
            self.received.append(identity)
            self.cursor = CODEC.encode(vector).decode()
        del self.wire[:number]

    def check(self, log: SubjectLog) -> None:
        """Assert that the cursor passes the latest event of a subject only if that one was received."""
        vector: Vector = CODEC.decode(self.cursor)
        latest = {key: (partition, offset) for key, partition, offset in log.events() if key[0] in self.channels}
        for partition, offset in latest.values():
            assert offset >= vector[partition] or f"{partition}/{offset}" in self.received, (vector, self.received)
        for channel in self.channels:
            of_channel = [key for key, _, _ in log.events() if key[0] == channel]
            if of_channel:
                self.check_order(CHANNELS[channel])

    def check_order(self, partition: int) -> None:
        offsets = [int(each.partition("/")[2]) for each in self.received if each.startswith(f"{partition}/")]
        assert offsets == sorted(offsets)


class Deployment(RuleBasedStateMachine):
    """Two replicas, one with a small history, and four subscribers, in any order of events."""

    def __init__(self) -> None:
        super().__init__()
        self.log = SubjectLog()
        self.shared: SharedRounds[tuple[object, ...]] = SharedRounds()
        self.replicas = [Replica(self.log, limit) for limit in (1024, 100_000)]
        begin = CODEC.encode((0,) * PARTITIONS).decode()
        self.subscribers = [
            Conflated(frozenset(channels), begin, limit)
            for channels, limit in (("ab", 1), ("abcd", 10**6), ("abcd", 10**6), ("cd", 800))
        ]
        for number, subscriber in enumerate(self.subscribers):
            subscriber.connect(self.replicas[number % 2])

    subscriber = st.integers(0, 3)
    replica = st.integers(0, 1)

    @rule(channel=st.sampled_from("abcd"), subjects=st.text("123", min_size=1, max_size=8), hole=st.integers(0, 2))
    def publish(self, channel: str, subjects: str, hole: int) -> None:
        for subject in subjects:
            self.log.publish_of(channel, subject, hole)

    @rule(number=replica, partition=st.integers(0, PARTITIONS - 1), limit=st.integers(1, 20))
    def feed(self, number: int, partition: int, limit: int) -> None:
        self.replicas[number].feed(partition, limit)

    @rule(number=subscriber, budget=st.integers(1, 600), times=st.integers(1, 10))
    def collect(self, number: int, budget: int, times: int) -> None:
        one = self.subscribers[number]
        one.take_round(budget, times, self.shared)
        one.write()

    @rule(number=subscriber, frames=st.integers(1, 10))
    def receive(self, number: int, frames: int) -> None:
        self.subscribers[number].receive(frames)

    @rule(number=subscriber, where=replica, received=st.integers(0, 10), collected=st.integers(0, 3))
    def move(self, number: int, where: int, received: int, collected: int) -> None:
        """Lose the connection, with a round that is being taken and frames that are on their way."""
        one = self.subscribers[number]
        one.receive(received)
        for _ in range(collected):
            one.collect(300)
        one.connect(self.replicas[where])

    @rule(number=replica)
    def kill(self, number: int) -> None:
        """The replica is killed and starts anew: its history begins at the end of the log."""
        self.replicas[number].restart()
        for one in self.subscribers:
            if one.at is self.replicas[number]:
                one.connect(self.replicas[number])

    @invariant()
    def nothing_that_is_the_latest_lies_before_a_cursor(self) -> None:
        for one in self.subscribers:
            one.check(self.log)

    def teardown(self) -> None:
        """Assert that in the end every subscriber has received the latest event of each subject."""
        for replica in self.replicas:
            for partition in range(PARTITIONS):
                while replica.positions[partition] < self.log.ends[partition]:
                    replica.feed(partition, 7)
        latest = {key: f"{partition}/{offset}" for key, partition, offset in self.log.events()}
        for one in self.subscribers:
            while not one.collect(300):
                pass
            one.write()
            one.receive(len(one.wire))
            one.check(self.log)
            assert {found for key, found in latest.items() if key[0] in one.channels} <= set(one.received)


TestConflation = Deployment.TestCase
TestConflation.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
