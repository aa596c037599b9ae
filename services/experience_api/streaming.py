"""Makes what the stream of a replica needs, once the bus is connected."""

import uuid
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from services.experience_api.latest.copying import Copier
from services.experience_api.latest.opening import Latest
from services.experience_api.metrics import ExperienceMetrics
from services.experience_api.producers.once.appender import OnceAppender
from services.experience_api.producers.once.options import OnceOptions
from services.experience_api.producers.once.store import KeyStore
from services.experience_api.sessions.claiming.takeovers import Takeovers
from services.experience_api.sessions.connections import Connections
from services.experience_api.sessions.dependencies import StreamParts
from services.experience_api.sessions.messages.inbound import Inbound
from services.experience_api.sessions.node import NodeLease
from services.experience_api.stream.auditing.writing import Auditing, AuditOptions
from services.experience_api.stream.options import DeliveryOptions
from shared.bus.protocol import Appender, Bus, Record
from shared.bus.topics import TopicsOptions
from shared.composition.parts import Parts


def new_id() -> str:
    """Return an id that no other event has."""
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True)
class Streaming:
    """What the settings say of the stream, and what all of the service shares."""

    topics: TopicsOptions
    delivery: DeliveryOptions
    once: OnceOptions
    audit: AuditOptions | None
    keys: KeyStore
    metrics: ExperienceMetrics
    parts: Parts
    latest: Latest | None = None
    copier: Copier | None = None

    def stream_parts(self, connections: Connections, node: NodeLease) -> StreamParts:
        """Return the parts from which the stream is built; `node` is the lease of this replica."""
        parts, topics, metrics, clock = self.parts, self.topics, self.metrics, self.parts.clock

        def inbound(appender: Appender, once: OnceAppender) -> Inbound:
            return Inbound(appender, once, topics.inbound, parts.alerts, metrics, clock, new_id)

        def takeovers(bus: Bus, appender: Appender) -> Takeovers:
            return Takeovers(bus, appender, topics.takeovers, connections.on_notice, clock)

        def once(bus: Bus) -> AbstractAsyncContextManager[OnceAppender]:
            return OnceAppender.opened(bus, topics.publish, self.keys, node.current, self.once, new_id)

        def written(record: Record) -> None:
            metrics.written(record, clock.time())

        made = (inbound, takeovers, once, metrics.delayed, parts.tracing, written)
        auditing = None if self.audit is None else self._auditing
        return StreamParts(topics, self.delivery, *made, auditing, self.latest, self.copier)

    def _auditing(self, appender: Appender) -> Auditing:
        assert self.audit is not None, "else there is no audit"
        return Auditing(appender, self.topics.audit, self.parts.node, self.audit, self.parts.clock)
