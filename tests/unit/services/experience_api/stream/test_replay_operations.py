"""Replays in a model of a whole deployment: replicas, restarts, lag, and cursors that change replica."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.unit.services.experience_api.stream.replay_model import CHANNELS, CODEC, PARTITIONS, Log, Replica, Subscriber


class Deployment(RuleBasedStateMachine):
    """Two replicas, one with a small history, and three subscribers, in any order of events."""

    def __init__(self) -> None:
        super().__init__()
        self.log = Log()
        self.replicas = [Replica(self.log, limit) for limit in (1024, 100_000)]
        begin = CODEC.encode((0,) * PARTITIONS).decode()
        self.subscribers = [Subscriber(frozenset(channels), begin) for channels in ("ab", "abcd", "cd")]
        for subscriber in self.subscribers[1:]:
            subscriber.who = subscriber.channels
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
