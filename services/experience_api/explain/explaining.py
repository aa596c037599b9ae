"""Answers why a client did or did not get an event: continues the search, and gathers the rest once it is done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from services.experience_api.explain.evidence import Evidence
from services.experience_api.explain.hops import hops
from services.experience_api.explain.scanning import scan
from services.experience_api.explain.search import Found, Search, Stage
from services.experience_api.explain.verdict import conclude, time_text
from services.experience_api.registry.clients import Client, Consumer
from services.experience_api.registry.notices import ConnectionDetails
from services.experience_api.wire.cursor import CursorCodec
from services.experience_api.wire.frames import event_frame, event_payload
from shared.bus.protocol import Bus, TopicPartition
from shared.bus.topics import TopicsOptions
from shared.errors import PositionLost
from shared.events.event import MalformedEvent
from shared.runtime.clock import Clock

_SECONDS = 4.0
"""Seconds for which one request reads."""
_READ_TIMEOUT = 2.0
_MS_AN_HOUR = 3_600_000


class Store(Protocol):
    """What is stored of clients."""

    async def find(self, client_id: str) -> Client | None: ...
    async def consumers(
        self, after: str = "", limit: int | None = None, client_id: str | None = None
    ) -> list[Consumer]: ...


class AsksReplicas(Protocol):
    """What the replicas know of their connections."""

    async def of(self, connections: Mapping[str, Sequence[UUID]]) -> dict[UUID, ConnectionDetails]: ...


@dataclass(frozen=True, slots=True)
class Explainer:
    """Explains events of one deployment."""

    topics: TopicsOptions
    store: Store
    replicas: AsksReplicas
    clock: Clock

    async def explain(self, bus: Bus, search: Search, client_id: str) -> dict[str, Any]:
        """Continue a search for some seconds; return its progress, and the explanation once it is done.

        Raises:
            Unavailable: the bus or the registry does not answer.
        """
        await scan(bus, self.topics, search, _SECONDS, self.clock)
        read = {"records": search.records, "bytes": search.bytes, "cut": [stage.value for stage in search.cut]}
        progress = {"progress": round(search.progress(), 3), "read": read}
        if search.stage is not Stage.DONE:
            return {**progress, "cursor": search.save(), "hops": [], "conclusion": None}
        found = hops(await self._evidence(bus, search, client_id))
        views = [hop.view() for hop in found]
        asked = {"event": search.event, "client_id": client_id, "since": time_text(search.since)}
        return {**progress, "cursor": None, **asked, "hops": views, "conclusion": conclude(found)}

    async def _evidence(self, bus: Bus, search: Search, client_id: str) -> Evidence:
        topic = self.topics.publish
        committed = None
        if ingested := search.of(Stage.INGEST):
            place = TopicPartition(self.topics.ingest, ingested[0].partition)
            committed = await bus.committed(self.topics.process_group, place)
        consumer = next(iter(await self.store.consumers(client_id=client_id)), None)
        by_node: dict[str, list[UUID]] = {}
        for each in () if consumer is None else consumer.connections:
            by_node.setdefault(each.node, []).append(each.connection_id)
        return Evidence(
            search,
            client_id,
            CursorCodec(await bus.epoch(topic), len(await bus.bounds(topic))),
            int(self.topics.retention_hours * _MS_AN_HOUR),
            int(self.clock.time() * 1000),
            committed,
            await self.store.find(client_id),
            consumer,
            await self.replicas.of(by_node) if by_node else {},
            await self._frames(bus, search.of(Stage.PUBLISH)),
        )

    async def _frames(self, bus: Bus, published: Sequence[Found]) -> dict[tuple[int, int], bytes]:
        """Read published records again, as many as there is time for."""
        found: dict[tuple[int, int], bytes] = {}
        deadline = self.clock.monotonic() + _SECONDS
        for each in published:
            if self.clock.monotonic() < deadline and (frame := await self._frame(bus, each)) is not None:
                found[each.partition, each.offset] = frame
        return found

    async def _frame(self, bus: Bus, found: Found) -> bytes | None:
        """Read one published record again, for the filters."""
        try:
            async with bus.reader(self.topics.publish, {found.partition: found.offset}) as reader:
                records = await reader.read(1, _READ_TIMEOUT)
            record = next((each for each in records if each.offset == found.offset), None)
            return None if record is None else event_frame(event_payload(record.value), b"")
        except (PositionLost, MalformedEvent):
            return None
