"""The cluster as seen from here: brokers, topics, leaders and coordinators."""

import asyncio
import base64
import ssl
import weakref
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from shared.bus.kafka.client.connections import Broker, Connections
from shared.bus.kafka.client.errors import LOST_CONNECTION, NONE, UNKNOWN_TOPIC, Passing, of_code, of_exception
from shared.bus.kafka.options import KafkaOptions
from shared.bus.kafka.wire.metadata import CoordinatorKind, find_coordinator, metadata
from shared.errors import Unavailable
from shared.runtime.clock import Clock
from shared.runtime.tasks import hedged

T = TypeVar("T")

_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.1
_HEDGE = 0.5
"""Seconds after which another broker is asked as well: one that is paused would cost a whole request timeout."""


@dataclass(frozen=True, slots=True)
class TopicView:
    """A topic as it was when we last asked."""

    name: str
    epoch: str
    leaders: Mapping[int, Broker | None]
    """By partition; None while one is being elected."""
    epochs: Mapping[int, int] = field(default_factory=dict)
    """By partition, the epoch of its leader (KIP-320): a broker refuses to answer for another one than it knows."""

    def leader(self, partition: int) -> Broker:
        """Return who leads a partition.

        Raises:
            Unavailable: nobody does, or there is no such partition.
        """
        broker = self.leaders.get(partition)
        if broker is None:
            raise Passing(f"{self.name}/{partition}: no leader")
        return broker


class Cluster:
    """What the parts of one bus share."""

    def __init__(self, options: KafkaOptions, tls: ssl.SSLContext | None, clock: Clock) -> None:
        self.options = options
        self.clock = clock
        self._tls = tls
        self._all_connections: weakref.WeakSet[Connections] = weakref.WeakSet()
        self._connections = self.connections()
        self._bootstrap = [Broker(host, port) for host, port in options.addresses]
        self._answering: list[Broker] = []
        self._brokers: dict[int, Broker] = {}
        self._controller = -1
        self._topics: dict[str, TopicView] = {}
        self._leaders: dict[tuple[bytes, int], tuple[int, Broker | None]] = {}
        """By topic id and partition: the newest leader heard of, with its epoch."""
        self._watching: dict[str, set[asyncio.Event]] = {}
        self.problems: dict[str, str] = {}
        """What keeps which part from working right now, for `Bus.problem`."""

    def connections(self, timeout: float | None = None) -> Connections:
        """Return connections of your own: a broker answers what comes by one of them one after the other.

        `timeout` is for requests that a broker answers late on purpose.
        """
        connections = Connections(self._arguments(timeout or self.options.request_timeout))
        self._all_connections.add(connections)
        return connections

    @contextmanager
    def watching(self, topic: str, changed: asyncio.Event) -> Iterator[None]:
        """Set an event whenever partitions of a topic are found to have other leaders."""
        events = self._watching.setdefault(topic, set())
        events.add(changed)
        try:
            yield
        finally:
            events.discard(changed)

    async def close(self) -> None:
        """Close our own connections."""
        await self._connections.close()

    async def ask(self, broker: Broker, request: Any) -> Any:
        """Send a request that disturbs nobody by waiting. Raises one of `LOST_CONNECTION`."""
        return await self._connections.send(broker, request)

    async def refresh(self, topics: Collection[str] = ()) -> dict[str, TopicView]:
        """Ask for the brokers and some topics anew, and return those topics that exist.

        Raises:
            Unavailable: no broker answers.
        """
        answer = await self.ask_any(metadata(topics))
        self._note_brokers({node: Broker(host, port) for node, host, port, *_ in answer.brokers})
        self._controller = answer.controller_id
        found = {}
        for code, name, topic_id, _, partitions, *_ in answer.topics:
            if code == NONE:
                found[name] = self._note_topic(self._view(name, topic_id, partitions))
                continue
            self._topics.pop(name, None)
            if code != UNKNOWN_TOPIC:
                raise of_code(code, f"topic {name}")
        return found

    async def topic(self, name: str) -> TopicView:
        """Return a topic as it was when last seen, or ask.

        Raises:
            Unavailable: it does not exist, or no broker answers.
        """
        known = self._topics.get(name) or (await self.refresh([name])).get(name)
        if known is None:
            raise Unavailable(f"topic {name} does not exist")
        return known

    def identity(self, name: str) -> str:
        """Return what a writer or a group is called in the cluster, which other deployments may share."""
        return f"{self.options.topics.prefix}.{name}"

    @property
    def longest_transaction(self) -> float:
        """Seconds after which the coordinator aborts a transaction that nobody ends.

        Twice the patience of one, so never what we still try. Until then readers of its partitions wait: a process
        that died in a transaction and is never started again holds them up for as long; a new owner ends it at once.
        """
        return 2 * self.options.patience

    @property
    def known_topics(self) -> Collection[str]:
        """Those that somebody here has asked for."""
        return tuple(self._topics)

    def forget(self, topics: Iterable[str]) -> None:
        """Ask anew for these topics next time: a leader was not where we thought."""
        for name in topics:
            self._topics.pop(name, None)

    async def controller(self) -> Broker:
        """Return whom to ask for new topics."""
        if self._controller not in self._brokers:
            await self.refresh()
        broker = self._brokers.get(self._controller)
        if broker is None:
            raise Passing("the Kafka cluster has no controller")
        return broker

    async def coordinator(self, kind: CoordinatorKind, key: str) -> Broker:
        """Return who coordinates a group or a transactional id now.

        Raises:
            Unavailable: nobody does yet, or no broker answers.
        """
        answer = await self.ask_any(find_coordinator(kind, key))
        if answer.error_code != NONE:
            raise of_code(answer.error_code, f"the coordinator of {kind} {key}")
        return Broker(answer.host, answer.port)

    async def persist(self, doing: str, attempt: Callable[[], Awaitable[T]], deadline: float | None = None) -> T:
        """Try until it works, or fails for good, or the deadline has passed.

        What `attempt` raises as `Passing`, or as one of `LOST_CONNECTION`, is tried again. `deadline` is of the
        clock's monotonic time, by default `options.patience` from now. The first pause is a millisecond, for what
        Kafka is about to finish.

        Raises:
            TrelayError: the last one met.
        """
        if deadline is None:
            deadline = self.clock.monotonic() + self.options.patience
        pause = _FIRST_PAUSE
        while True:
            try:
                return await attempt()
            except Passing:
                if self.clock.monotonic() + pause > deadline:
                    raise
            except LOST_CONNECTION as exc:
                if self.clock.monotonic() + pause > deadline:
                    raise of_exception(exc, doing) from exc
            await self.clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def ask_any(self, request: Any) -> Any:
        """Send a request that any broker can answer.

        Raises:
            Unavailable: none does.
        """
        # The broker that answered last comes first: one that is gone would cost a timeout each time.
        candidates = dict.fromkeys([*self._answering, *self._brokers.values(), *self._bootstrap])
        if not candidates:
            raise Unavailable(f"Kafka at {self.options.servers}: no broker is known")

        async def attempt(broker: Broker) -> Any:
            answer = await self._connections.send(broker, request)
            self._answering = [broker]
            return answer

        try:
            return await hedged([partial(attempt, broker) for broker in candidates], _HEDGE, LOST_CONNECTION)
        except LOST_CONNECTION as exc:
            self._answering = []
            raise of_exception(exc, f"Kafka at {self.options.servers}") from exc

    def _arguments(self, timeout: float) -> dict[str, Any]:
        options = self.options
        return {
            "client_id": "trelay",
            "request_timeout_ms": int(timeout * 1000),
            "ssl_context": self._tls,
            "security_protocol": options.security_protocol,
            "sasl_mechanism": options.sasl_mechanism,
            "sasl_plain_username": options.user,
            "sasl_plain_password": options.password.get_secret_value() if options.password else None,
        }

    def _note_brokers(self, brokers: dict[int, Broker]) -> None:
        """Take over who is in the cluster, and end all requests to brokers that have left it.

        A broker that is paused, or cut off, is fenced by the controller and no longer listed: whatever it would answer
        when it wakes is about a cluster that has gone on without it.
        """
        for gone in set(self._brokers.values()) - set(brokers.values()):
            for connections in self._all_connections:
                connections.drop(gone)
        self._brokers = brokers

    def _note_topic(self, view: TopicView) -> TopicView:
        before = self._topics.get(view.name)
        self._topics[view.name] = view
        if before is None or (before.leaders, before.epochs) != (view.leaders, view.epochs):
            for changed in self._watching.get(view.name, ()):
                changed.set()
        return view

    def _view(self, name: str, topic_id: bytes, partitions: Iterable[Any]) -> TopicView:
        leaders, epochs = {}, {}
        for _, number, leader, epoch, *_ in sorted(partitions, key=lambda entry: int(entry[1])):
            epochs[number], leaders[number] = self._newest(topic_id, number, epoch, self._brokers.get(leader))
        return TopicView(name, base64.urlsafe_b64encode(topic_id).decode().rstrip("="), leaders, epochs)

    def _newest(self, topic_id: bytes, number: int, epoch: int, leader: Broker | None) -> tuple[int, Broker | None]:
        """Return the newest epoch and leader of a partition: a broker that lags behind tells older ones (KIP-320)."""
        known = self._leaders.get((topic_id, number))
        if known is not None and known[0] > epoch:
            return known
        self._leaders[topic_id, number] = (epoch, leader)
        return epoch, leader
