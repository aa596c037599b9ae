"""The metadata of a cluster: its brokers, topics, leaders and coordinators; and requests that any broker can answer."""

import asyncio
import base64
import weakref
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from shared.bus.kafka.client.connections import Broker, BrokerConnections
from shared.bus.kafka.client.errors import (
    LOST_CONNECTION,
    NONE,
    UNKNOWN_TOPIC_OR_PARTITION,
    Retriable,
    error_for_code,
    translate,
)
from shared.bus.kafka.client.tls import BrokerTls
from shared.bus.kafka.options import KafkaOptions
from shared.bus.kafka.wire.metadata import CoordinatorKind, find_coordinator, metadata
from shared.errors import Unavailable
from shared.runtime.clock import Clock
from shared.runtime.tasks import hedged

T = TypeVar("T")

_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.1
_HEDGE_DELAY = 0.5
"""Seconds after which a request goes to another broker as well: a paused broker would cost a whole request timeout."""


@dataclass(frozen=True, slots=True)
class TopicMetadata:
    """A topic as a broker described it last."""

    name: str
    epoch: str
    leaders: Mapping[int, Broker | None]
    """By partition; None during an election."""
    leader_epochs: Mapping[int, int] = field(default_factory=dict)
    """By partition (KIP-320): a broker that knows another epoch returns an error."""

    def leader(self, partition: int) -> Broker:
        """Return the leader of a partition.

        Raises:
            Retriable: it has none, or there is no such partition.
        """
        broker = self.leaders.get(partition)
        if broker is None:
            raise Retriable(f"{self.name}/{partition}: no leader")
        return broker


class Cluster:
    """What all parts of one bus share."""

    def __init__(self, options: KafkaOptions, tls: BrokerTls | None, clock: Clock) -> None:
        self.options = options
        self.clock = clock
        self._tls = tls
        self._all_connections: weakref.WeakSet[BrokerConnections] = weakref.WeakSet()
        self._connections = self.connections()
        self._bootstrap = [Broker(host, port) for host, port in options.addresses]
        self._last_responsive: list[Broker] = []
        self._brokers: dict[int, Broker] = {}
        self._controller = -1
        self._topics: dict[str, TopicMetadata] = {}
        self._newest_leaders: dict[tuple[bytes, int], tuple[int, Broker | None]] = {}
        """By topic id and partition: the highest leader epoch seen, and its leader."""
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self.problems: dict[str, str] = {}
        """Why a part does not work now, by part; see `Bus.problem`."""

    def connections(self, timeout: float | None = None) -> BrokerConnections:
        """Return separate connections: a broker answers the requests of one connection one after the other.

        `timeout` is for requests that a broker answers late on purpose; by default `options.request_timeout`.
        """
        connections = BrokerConnections(partial(self._arguments, timeout or self.options.request_timeout))
        self._all_connections.add(connections)
        return connections

    @contextmanager
    def watch_leaders(self, topic: str, changed: asyncio.Event) -> Iterator[None]:
        """Set an event whenever a leader of a topic has changed."""
        events = self._watchers.setdefault(topic, set())
        events.add(changed)
        try:
            yield
        finally:
            events.discard(changed)

    async def close(self) -> None:
        """Close the cluster's own connections; the owners of others close theirs."""
        await self._connections.close()

    async def send(self, broker: Broker, request: Any) -> Any:
        """Send a request that the broker answers at once, on shared connections. Raises one of `LOST_CONNECTION`."""
        return await self._connections.send(broker, request)

    async def refresh(self, topics: Collection[str] = ()) -> dict[str, TopicMetadata]:
        """Request the brokers and some topics, and return those topics that exist.

        Raises:
            Unavailable: no broker answers.
        """
        response = await self.send_to_any(metadata(topics))
        self._update_brokers({node: Broker(host, port) for node, host, port, *_ in response.brokers})
        self._controller = response.controller_id
        found = {}
        for code, name, topic_id, _, partitions, *_ in response.topics:
            if code == NONE:
                found[name] = self._update_topic(self._topic_metadata(name, topic_id, partitions))
                continue
            self._topics.pop(name, None)
            if code != UNKNOWN_TOPIC_OR_PARTITION:
                raise error_for_code(code, f"topic {name}")
        return found

    async def topic_names(self) -> list[str]:
        """Return the names of all topics that the account may describe, without those that Kafka uses itself.

        Raises:
            Unavailable: no broker answers.
        """
        response = await self.send_to_any(metadata(None))
        return sorted(name for code, name, _, internal, *_ in response.topics if code == NONE and not internal)

    async def topic(self, name: str) -> TopicMetadata:
        """Return the metadata of a topic, from the cache if it is there.

        Raises:
            Unavailable: the topic does not exist, or no broker answers.
        """
        known = self._topics.get(name) or (await self.refresh([name])).get(name)
        if known is None:
            raise Unavailable(f"topic {name} does not exist")
        return known

    def prefixed(self, name: str) -> str:
        """Return the name of a writer or a group in the cluster, which deployments may share."""
        return f"{self.options.topics.prefix}.{name}"

    @property
    def transaction_timeout(self) -> float:
        """Seconds after which the coordinator aborts a transaction that its producer does not end.

        Twice the delivery timeout, so no transaction that is still tried. Readers of its partitions wait until then for
        a process that failed during a transaction and does not restart; a new owner ends the transaction at once.
        """
        return 2 * self.options.delivery_timeout

    @property
    def known_topics(self) -> Collection[str]:
        """The topics in the cache."""
        return tuple(self._topics)

    def invalidate(self, topics: Iterable[str]) -> None:
        """Remove topics from the cache: their metadata is stale."""
        for name in topics:
            self._topics.pop(name, None)

    async def controller(self) -> Broker:
        """Return the broker that creates topics.

        Raises:
            Retriable: there is none now.
            Unavailable: no broker answers.
        """
        if self._controller not in self._brokers:
            await self.refresh()
        broker = self._brokers.get(self._controller)
        if broker is None:
            raise Retriable("the Kafka cluster has no controller")
        return broker

    async def coordinator(self, kind: CoordinatorKind, key: str) -> Broker:
        """Return the coordinator of a group or a transactional id.

        Raises:
            Unavailable: there is none now, or no broker answers.
        """
        response = await self.send_to_any(find_coordinator(kind, key))
        if response.error_code != NONE:
            raise error_for_code(response.error_code, f"the coordinator of {kind} {key}")
        return Broker(response.host, response.port)

    async def retry(self, doing: str, attempt: Callable[[], Awaitable[T]], deadline: float | None = None) -> T:
        """Call `attempt` until it succeeds, fails for good, or the deadline has passed.

        It is called again after `Retriable`, and after one of `LOST_CONNECTION`. `deadline` is in the clock's monotonic
        time, by default `options.delivery_timeout` from now. The first pause is a millisecond, for what Kafka is about
        to finish.

        Raises:
            TrelayError: the error of the last attempt.
        """
        if deadline is None:
            deadline = self.clock.monotonic() + self.options.delivery_timeout
        pause = _FIRST_PAUSE
        while True:
            try:
                return await attempt()
            except Retriable:
                if self.clock.monotonic() + pause > deadline:
                    raise
            except LOST_CONNECTION as exc:
                if self.clock.monotonic() + pause > deadline:
                    raise translate(exc, doing) from exc
            await self.clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def send_to_any(self, request: Any) -> Any:
        """Send a request that any broker can answer.

        Raises:
            Unavailable: no broker answers.
        """
        # The broker that answered last comes first: one that is away would cost a timeout each time.
        candidates = dict.fromkeys([*self._last_responsive, *self._brokers.values(), *self._bootstrap])
        if not candidates:
            raise Unavailable(f"Kafka at {self.options.servers}: no broker is known")

        async def attempt(broker: Broker) -> Any:
            response = await self._connections.send(broker, request)
            self._last_responsive = [broker]
            return response

        try:
            return await hedged([partial(attempt, broker) for broker in candidates], _HEDGE_DELAY, LOST_CONNECTION)
        except LOST_CONNECTION as exc:
            self._last_responsive = []
            error = translate(exc, f"Kafka at {self.options.servers}")
            if self._tls is None or self.options.cert_file is not None or "closed" not in str(error):
                raise error from exc
            # TLS 1.3 refuses a client after its handshake, and aiokafka does not say why the connection was closed.
            raise Unavailable(f"{error}; if the brokers require a client certificate, set `cert_file`") from exc

    def _arguments(self, timeout: float) -> dict[str, Any]:
        options = self.options
        return {
            "client_id": "trelay",
            "request_timeout_ms": int(timeout * 1000),
            "ssl_context": None if self._tls is None else self._tls.context,
            "security_protocol": options.security_protocol,
            "sasl_mechanism": options.sasl_mechanism,
            "sasl_plain_username": options.user,
            "sasl_plain_password": options.password.get_secret_value() if options.password else None,
        }

    def _update_brokers(self, brokers: dict[int, Broker]) -> None:
        """Replace the known brokers, and end all requests to brokers that have left the cluster.

        The controller fences a broker that is paused or cut off, and the metadata no longer lists it. Whatever it would
        answer when it resumes is stale.
        """
        for gone in set(self._brokers.values()) - set(brokers.values()):
            for connections in self._all_connections:
                connections.drop(gone)
        self._brokers = brokers

    def _update_topic(self, topic: TopicMetadata) -> TopicMetadata:
        before = self._topics.get(topic.name)
        self._topics[topic.name] = topic
        if before is None or (before.leaders, before.leader_epochs) != (topic.leaders, topic.leader_epochs):
            for changed in self._watchers.get(topic.name, ()):
                changed.set()
        return topic

    def _topic_metadata(self, name: str, topic_id: bytes, partitions: Iterable[Any]) -> TopicMetadata:
        leaders, epochs = {}, {}
        for _, number, leader, epoch, *_ in sorted(partitions, key=lambda entry: int(entry[1])):
            epochs[number], leaders[number] = self._newest_leader(topic_id, number, epoch, self._brokers.get(leader))
        return TopicMetadata(name, base64.urlsafe_b64encode(topic_id).decode().rstrip("="), leaders, epochs)

    def _newest_leader(
        self, topic_id: bytes, number: int, epoch: int, leader: Broker | None
    ) -> tuple[int, Broker | None]:
        """Return the newest epoch of a partition, and its leader: a broker that lags returns older ones (KIP-320)."""
        known = self._newest_leaders.get((topic_id, number))
        if known is not None and known[0] > epoch:
            return known
        self._newest_leaders[topic_id, number] = (epoch, leader)
        return epoch, leader
