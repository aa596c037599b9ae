"""Coordinators that move, pause and answer too late."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from shared.bus.kafka.client.cluster import Cluster, TopicMetadata
from shared.bus.kafka.client.connections import Broker
from shared.bus.kafka.options import KafkaOptions
from shared.bus.kafka.transactional_producer import TransactionalProducer
from shared.bus.kafka.wire.offsets import OffsetFetchRequest
from shared.bus.kafka.wire.transactions import InitProducerIdRequest
from shared.bus.protocol import Outgoing, TopicPartition, Transaction
from shared.errors import Fenced, Unavailable
from shared.runtime.clock import SystemClock

FIRST, SECOND = Broker("first", 1), Broker("second", 2)
NOT_COORDINATOR, INVALID_PRODUCER_EPOCH, UNSTABLE = 16, 47, 88

Response = Callable[[], Any]


class VirtualClock(SystemClock):
    """Time passes only in sleeps."""

    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds
        await asyncio.sleep(0)


class Coordinators(Cluster):
    """A cluster whose coordinators answer by a script; a request that is not in it succeeds."""

    def __init__(self) -> None:
        super().__init__(KafkaOptions(delivery_timeout=2.0), None, VirtualClock())
        self.requests: list[tuple[Broker, str]] = []
        self.scripted: dict[str, list[Response]] = {}
        self.producers: list[tuple[int, int]] = []
        """The producer in each InitProducerId."""
        self.offset = 42
        self._epoch = 0
        self._looked_up = iter([FIRST, *[SECOND] * 100])

    async def coordinator(self, kind: str, key: str) -> Broker:
        return next(self._looked_up)

    def connections(self, timeout: float | None = None) -> Any:
        return self

    async def close(self) -> None:
        pass

    async def send(self, broker: Broker, request: Any) -> Any:
        form = request.prepare(dict.fromkeys(range(40), (0, 20)))
        name = type(form).__name__.partition("Request")[0]
        self.requests.append((broker, name))
        if isinstance(form, InitProducerIdRequest):
            self.producers.append((form.producer_id, form.producer_epoch))
        await asyncio.sleep(0)
        script = self.scripted.get(name)
        if script:
            return script.pop(0)()
        if isinstance(form, InitProducerIdRequest):
            self._epoch += 1
            return SimpleNamespace(error_code=0, producer_id=7, producer_epoch=self._epoch)
        if isinstance(form, OffsetFetchRequest):
            return offset_is(self.offset)
        return SimpleNamespace(error_code=0, errors=[])


def offset_is(offset: int, code: int = 0) -> Any:
    return SimpleNamespace(error_code=0, topics=[("t", [(0, offset, -1, "", code, {})], {})])


def lost() -> Any:
    raise KafkaConnectionError("gone")


def code(number: int) -> Response:
    return lambda: SimpleNamespace(error_code=number, errors=[], producer_id=-1, producer_epoch=-1)


def committing_offsets() -> Transaction:
    transaction = Transaction()
    transaction.commit_offset("readers", TopicPartition("t", 0), 5)
    return transaction


@pytest.fixture
def cluster() -> Coordinators:
    return Coordinators()


@pytest.fixture
def producer(cluster: Coordinators) -> TransactionalProducer:
    return TransactionalProducer(cluster, "writer-a")


async def test_two_requests_that_fail_together_are_both_sent_to_the_next_coordinator(
    cluster: Coordinators, producer: TransactionalProducer
) -> None:
    await producer.open()
    cluster.scripted["AddPartitionsToTxn"] = [lost]
    cluster.scripted["AddOffsetsToTxn"] = [lost]
    deadline = cluster.clock.monotonic() + 2.0
    batches = [SimpleNamespace(topic="t", partition=0)]
    await asyncio.gather(
        producer._add_partitions(batches, deadline),  # type: ignore[arg-type]
        producer._add_offsets("readers", deadline),
    )
    later = [broker for broker, name in cluster.requests if name.startswith("Add")][2:]
    assert later == [SECOND, SECOND]


async def test_a_producer_whose_requests_were_all_answered_keeps_its_epoch(
    cluster: Coordinators, producer: TransactionalProducer
) -> None:
    await producer.open()
    cluster.scripted["EndTxn"] = [code(NOT_COORDINATOR)]
    await producer.write(committing_offsets(), [], 2.0)
    await producer.end(2.0, commit=True)
    assert not producer.must_bump_epoch
    assert cluster.producers == [(-1, -1)]


@pytest.mark.parametrize("request_name", ["AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn"])
async def test_after_a_request_without_a_response_the_next_transaction_has_another_epoch(
    cluster: Coordinators, producer: TransactionalProducer, request_name: str
) -> None:
    await producer.open()
    cluster.scripted[request_name] = [lost]
    await producer.write(committing_offsets(), [], 2.0)
    await producer.end(2.0, commit=True)
    assert producer.must_bump_epoch
    await producer.bump_epoch()
    assert not producer.must_bump_epoch
    assert cluster.producers == [(-1, -1), (7, 1)]


async def test_an_epoch_bump_without_a_response_is_followed_by_another(
    cluster: Coordinators, producer: TransactionalProducer
) -> None:
    await producer.open()
    cluster.scripted["InitProducerId"] = [lost]
    await producer.bump_epoch()
    assert producer.must_bump_epoch


async def test_an_epoch_bump_does_not_fence_a_newer_owner(
    cluster: Coordinators, producer: TransactionalProducer
) -> None:
    await producer.open()
    cluster.scripted["InitProducerId"] = [code(INVALID_PRODUCER_EPOCH)]
    with pytest.raises(Fenced):
        await producer.bump_epoch()


async def test_an_opening_that_had_to_be_repeated_bumps_its_epoch(
    cluster: Coordinators, producer: TransactionalProducer
) -> None:
    cluster.scripted["InitProducerId"] = [lost]
    await producer.open()
    assert cluster.producers == [(-1, -1), (-1, -1), (7, 1)]
    assert not producer.must_bump_epoch


async def test_an_opening_that_its_own_first_attempt_has_fenced_begins_again(
    cluster: Coordinators, producer: TransactionalProducer
) -> None:
    def ok() -> Any:
        return SimpleNamespace(error_code=0, producer_id=7, producer_epoch=1)

    cluster.scripted["InitProducerId"] = [lost, ok, code(INVALID_PRODUCER_EPOCH)]
    await producer.open()
    assert cluster.producers == [(-1, -1), (-1, -1), (7, 1), (-1, -1)]


async def test_the_committed_offset_comes_from_the_coordinator_that_has_just_stored_something(
    cluster: Coordinators, producer: TransactionalProducer
) -> None:
    await producer.open()
    cluster.scripted["TxnOffsetCommit"] = [code(0), lost]
    cluster.scripted["OffsetFetch"] = [lost]
    assert await producer.committed("readers", TopicPartition("t", 0), 2.0) == 42
    names = [name for _, name in cluster.requests]
    assert all(before == "EndTxn" for before, name in pairwise(names) if name == "OffsetFetch")
    stored = [broker for broker, name in cluster.requests if name == "TxnOffsetCommit"]
    fetched = [broker for broker, name in cluster.requests if name == "OffsetFetch"]
    assert fetched[-1] == stored[-1]
    assert not producer.in_transaction


async def test_an_unstable_offset_is_waited_for(cluster: Coordinators, producer: TransactionalProducer) -> None:
    await producer.open()
    cluster.scripted["OffsetFetch"] = [lambda: offset_is(-1, UNSTABLE), lambda: offset_is(-1)]
    assert await producer.committed("readers", TopicPartition("t", 0), 2.0) is None
    assert [name for _, name in cluster.requests].count("TxnOffsetCommit") == 1


async def test_a_coordinator_that_never_answers_is_unavailable(
    cluster: Coordinators, producer: TransactionalProducer
) -> None:
    await producer.open()
    cluster.scripted["TxnOffsetCommit"] = [lost] * 1000
    with pytest.raises(Unavailable, match="commit offsets"):
        await producer.committed("readers", TopicPartition("t", 0), 2.0)


class OneBroker(Coordinators):
    """A broker that leads a partition and coordinates a group; it notes the writes that it gets at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.overlapping: list[set[str]] = []
        self._writing: set[str] = set()

    def connections(self, timeout: float | None = None) -> Any:
        return OneConnection(self)

    async def topic(self, name: str) -> TopicMetadata:
        return TopicMetadata(name, "epoch", {0: SECOND})

    async def send(self, broker: Broker, request: Any) -> Any:
        name = type(request.prepare(dict.fromkeys(range(40), (0, 20)))).__name__.partition("Request")[0]
        if name not in {"Produce", "TxnOffsetCommit"}:
            return await super().send(broker, request)
        assert broker == SECOND
        self._writing.add(name)
        if len(self._writing) > 1:
            self.overlapping.append({*self._writing})
        response = await super().send(broker, request)
        self._writing.discard(name)
        return response


class OneConnection:
    """The broker answers one request after the other."""

    def __init__(self, broker: OneBroker) -> None:
        self._broker = broker
        self._answering = asyncio.Lock()

    async def send(self, broker: Broker, request: Any) -> Any:
        async with self._answering:
            return await self._broker.send(broker, request)

    async def close(self) -> None:
        pass


async def test_a_broker_gets_the_records_and_the_offsets_of_a_transaction_one_after_the_other() -> None:
    cluster = OneBroker()
    producer = TransactionalProducer(cluster, "writer-a")
    encoder = await producer.open()
    cluster.scripted["Produce"] = [lambda: SimpleNamespace(topics=[("t", [(0, 0)])])]
    await producer.write(committing_offsets(), encoder.encode("t", 0, [Outgoing(b"C-1", b"{}")], 0), 2.0)
    names = [name for _, name in cluster.requests]
    assert {"Produce", "TxnOffsetCommit"} <= set(names)
    assert cluster.overlapping == []
