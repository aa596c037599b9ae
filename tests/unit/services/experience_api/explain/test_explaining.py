"""Explanations from the topics in memory, of an event and a client that are known."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from services.experience_api.explain.audited import Audit
from services.experience_api.explain.explaining import Explainer
from services.experience_api.explain.search import Search
from services.experience_api.registry.clients import Client, Consumer
from services.experience_api.registry.notices import ConnectionDetails
from services.experience_api.wire.cursor import CursorCodec
from shared.bus.memory import MemoryBus
from shared.bus.partitioning import partition_of
from shared.bus.protocol import Outgoing, TopicPartition, Transaction
from shared.bus.topics import TopicsOptions
from shared.events.headers import headers_of
from shared.runtime.clock import SYSTEM_CLOCK
from tests.unit.services.experience_api.explain.making import ONE, consumer, details

TOPICS = TopicsOptions(partitions=2)
KEY = b"C-1"
NUMBER = partition_of(KEY, 2)


class Stored:
    """One client, with one connection."""

    async def find(self, client_id: str) -> Client | None:
        return Client("shop", "hash", ("orders.*",)) if client_id == "shop" else None

    async def consumers(
        self,
        after: str = "",
        limit: int | None = None,
        client_id: str | None = None,
    ) -> list[Consumer]:
        return [dataclasses.replace(consumer(since=0))] if client_id == "shop" else []


class Replicas:
    """What the replica tells of the connection."""

    def __init__(self, told: ConnectionDetails) -> None:
        self._told = told

    async def of(self, connections: Mapping[str, Sequence[UUID]]) -> dict[UUID, ConnectionDetails]:
        assert connections == {"experience-0": [ONE]}
        return {ONE: self._told}


async def flowed(*, processed: bool = True, published: bool = True) -> MemoryBus:
    """Let an event go its way."""
    bus, headers = MemoryBus(), headers_of(b"orders 5 orders:7")
    await bus.ensure_topics(TOPICS.all())
    transaction = Transaction({TOPICS.ingest: [Outgoing(KEY, b'{"id":"orders:7"}', headers)]})
    if published:
        value = b'{"id":"orders:7","data":{"n":1}}'
        transaction.append(TOPICS.publish, b"orders.eu", value, headers)
    if processed:
        transaction.commit_offset(TOPICS.process_group, TopicPartition(TOPICS.ingest, NUMBER), 1)
    async with bus.writer("w") as writer:
        await writer.commit(transaction)
    return bus


async def audited(bus: MemoryBus) -> None:
    """Let a connection that has ended receive the event."""
    codec = CursorCodec(await bus.epoch(TOPICS.publish), 2)
    after, written = (codec.encode([reached, reached]).decode() for reached in (0, 1))
    names = {"client_id": "shop", "connection_id": "c-0", "node": "experience-1", "at": "2026-01-30T09:12:11Z"}
    places = {"after": after, "written": written, "sent": written, "acknowledged": written}
    interest: dict[str, object] = {"channels": ["orders.*"], "filters": {}, "conflate": None}
    record = {"kind": "closed", **names, **interest, **places}
    async with bus.appender() as appender:
        await appender.append(TOPICS.audit, [Outgoing(b"shop", json.dumps(record).encode())])


async def explained(bus: MemoryBus, client: str = "shop", **told: Any) -> dict[str, Any]:
    reached = CursorCodec(await bus.epoch(TOPICS.publish), 2).encode((9, 9)).decode()
    explainer = Explainer(TOPICS, Stored(), Replicas(details(**{"cursor": reached, **told})), SYSTEM_CLOCK)
    return await explainer.explain(bus, Search("orders:7", "", 0, 2**42, 10**9, audit=Audit(client)), client)


async def test_an_event_that_was_delivered() -> None:
    found = await explained(await flowed())
    assert [hop["answer"] for hop in found["hops"]] == ["yes"] * 5
    assert (found["cursor"], found["progress"], found["read"]["cut"]) == (None, 1.0, [])
    assert found["conclusion"]["answer"] == "yes"


async def test_the_event_itself_is_read_for_the_filters() -> None:
    for expression, answer in (("n > 1", "no"), ("n = 1", "yes")):
        found = await explained(await flowed(), filters={"orders.*": expression})
        assert found["conclusion"]["answer"] == answer


async def test_the_committed_offset_tells_lag_from_a_filter() -> None:
    waiting = await explained(await flowed(processed=False, published=False))
    assert "has not processed it yet: 1 offsets" in waiting["conclusion"]["text"]
    left_out = await explained(await flowed(published=False))
    assert "published nothing" in left_out["conclusion"]["text"]


async def test_a_client_that_is_not_known() -> None:
    found = await explained(await flowed(), "other")
    assert found["conclusion"]["text"] == "there is no client 'other'"


async def test_the_audit_knows_of_a_connection_that_has_ended() -> None:
    bus = await flowed()
    await audited(bus)
    found = await explained(bus, channels=("stock",))
    assert found["conclusion"]["answer"] == "yes"
    assert "received by the client's end of connection c-0 of experience-1" in found["conclusion"]["text"]
