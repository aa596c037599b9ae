"""Coordinators that move, pause and answer too late."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from shared.bus.kafka.client.cluster import Cluster
from shared.bus.kafka.client.connections import Broker
from shared.bus.kafka.options import KafkaOptions
from shared.bus.kafka.transactional import TransactionalId
from shared.bus.kafka.wire.offsets import OffsetFetchRequest
from shared.bus.kafka.wire.transactions import InitProducerIdRequest
from shared.bus.protocol import TopicPartition, Transaction
from shared.errors import Fenced, Unavailable
from shared.runtime.clock import SystemClock

FIRST, SECOND = Broker("first", 1), Broker("second", 2)
NOT_COORDINATOR, INVALID_PRODUCER_EPOCH, UNSTABLE = 16, 47, 88

Answer = Callable[[], Any]


class Hurried(SystemClock):
    """Time passes only by sleeping."""

    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds
        await asyncio.sleep(0)


class Coordinators(Cluster):
    """A cluster of which only coordinators are asked, by a script: what is not in it succeeds."""

    def __init__(self) -> None:
        super().__init__(KafkaOptions(patience=2.0), None, Hurried())
        self.asked: list[tuple[Broker, str]] = []
        self.scripted: dict[str, list[Answer]] = {}
        self.producers: list[tuple[int, int]] = []
        """What each InitProducerId said of itself."""
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
        self.asked.append((broker, name))
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


def code(number: int) -> Answer:
    return lambda: SimpleNamespace(error_code=number, errors=[], producer_id=-1, producer_epoch=-1)


def settling() -> Transaction:
    transaction = Transaction()
    transaction.commit_offset("readers", TopicPartition("t", 0), 5)
    return transaction


@pytest.fixture
def cluster() -> Coordinators:
    return Coordinators()


@pytest.fixture
def owned(cluster: Coordinators) -> TransactionalId:
    return TransactionalId(cluster, "writer-a")


async def test_two_requests_that_fail_together_are_both_sent_to_the_next_coordinator(
    cluster: Coordinators, owned: TransactionalId
) -> None:
    await owned.open()
    cluster.scripted["AddPartitionsToTxn"] = [lost]
    cluster.scripted["AddOffsetsToTxn"] = [lost]
    deadline = cluster.clock.monotonic() + 2.0
    batches = [SimpleNamespace(topic="t", partition=0)]
    await asyncio.gather(
        owned._add_partitions(batches, deadline),  # type: ignore[arg-type]
        owned._add_offsets("readers", deadline),
    )
    later = [broker for broker, name in cluster.asked if name.startswith("Add")][2:]
    assert later == [SECOND, SECOND]


async def test_an_owner_whose_requests_were_all_answered_keeps_its_epoch(
    cluster: Coordinators, owned: TransactionalId
) -> None:
    await owned.open()
    cluster.scripted["EndTxn"] = [code(NOT_COORDINATOR)]
    await owned.write(settling(), [], 2.0)
    await owned.end(2.0, commit=True)
    assert not owned.doubtful
    assert cluster.producers == [(-1, -1)]


@pytest.mark.parametrize("request_name", ["AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn"])
async def test_after_a_request_without_an_answer_the_next_transaction_has_another_epoch(
    cluster: Coordinators, owned: TransactionalId, request_name: str
) -> None:
    await owned.open()
    cluster.scripted[request_name] = [lost]
    await owned.write(settling(), [], 2.0)
    await owned.end(2.0, commit=True)
    assert owned.doubtful
    await owned.renew()
    assert not owned.doubtful
    assert cluster.producers == [(-1, -1), (7, 1)]


async def test_a_renewal_without_an_answer_is_followed_by_another(
    cluster: Coordinators, owned: TransactionalId
) -> None:
    await owned.open()
    cluster.scripted["InitProducerId"] = [lost]
    await owned.renew()
    assert owned.doubtful


async def test_a_renewal_does_not_put_out_a_newer_owner(cluster: Coordinators, owned: TransactionalId) -> None:
    await owned.open()
    cluster.scripted["InitProducerId"] = [code(INVALID_PRODUCER_EPOCH)]
    with pytest.raises(Fenced):
        await owned.renew()


async def test_an_opening_that_had_to_be_repeated_is_sure_of_its_epoch(
    cluster: Coordinators, owned: TransactionalId
) -> None:
    cluster.scripted["InitProducerId"] = [lost]
    await owned.open()
    assert cluster.producers == [(-1, -1), (-1, -1), (7, 1)]
    assert not owned.doubtful


async def test_an_opening_that_its_own_first_attempt_has_overtaken_begins_again(
    cluster: Coordinators, owned: TransactionalId
) -> None:
    def ok() -> Any:
        return SimpleNamespace(error_code=0, producer_id=7, producer_epoch=1)

    cluster.scripted["InitProducerId"] = [lost, ok, code(INVALID_PRODUCER_EPOCH)]
    await owned.open()
    assert cluster.producers == [(-1, -1), (-1, -1), (7, 1), (-1, -1)]


async def test_what_is_settled_is_asked_of_the_coordinator_that_has_just_stored_something(
    cluster: Coordinators, owned: TransactionalId
) -> None:
    await owned.open()
    cluster.scripted["TxnOffsetCommit"] = [code(0), lost]
    cluster.scripted["OffsetFetch"] = [lost]
    assert await owned.committed("readers", TopicPartition("t", 0), 2.0) == 42
    names = [name for _, name in cluster.asked]
    assert all(before == "EndTxn" for before, name in pairwise(names) if name == "OffsetFetch")
    stored = [broker for broker, name in cluster.asked if name == "TxnOffsetCommit"]
    asked = [broker for broker, name in cluster.asked if name == "OffsetFetch"]
    assert asked[-1] == stored[-1]
    assert not owned.began


async def test_an_offset_that_is_being_decided_is_waited_for(cluster: Coordinators, owned: TransactionalId) -> None:
    await owned.open()
    cluster.scripted["OffsetFetch"] = [lambda: offset_is(-1, UNSTABLE), lambda: offset_is(-1)]
    assert await owned.committed("readers", TopicPartition("t", 0), 2.0) is None
    assert [name for _, name in cluster.asked].count("TxnOffsetCommit") == 1


async def test_a_coordinator_that_stays_away_is_unavailable(cluster: Coordinators, owned: TransactionalId) -> None:
    await owned.open()
    cluster.scripted["TxnOffsetCommit"] = [lost] * 1000
    with pytest.raises(Unavailable, match="settling offsets"):
        await owned.committed("readers", TopicPartition("t", 0), 2.0)
