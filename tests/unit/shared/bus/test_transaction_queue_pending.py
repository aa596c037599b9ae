"""Transactions that wait for their commits, settled oldest first."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shared.bus.protocol import TopicPartition, Transaction
from shared.bus.transaction_queue import PendingTransactions
from shared.errors import TooLarge, TrelayError, Unavailable


async def run_all() -> None:
    """Let every task run until it waits."""
    for _ in range(30):
        await asyncio.sleep(0)


class SlowWriter:
    """A `Writer` whose transactions the test commits."""

    def __init__(self) -> None:
        self.submitted: list[asyncio.Future[None]] = []
        self.error: TrelayError | None = None

    async def submit(self, transaction: Transaction) -> asyncio.Future[None]:
        if self.error is not None:
            raise self.error
        self.submitted.append(asyncio.get_running_loop().create_future())
        return self.submitted[-1]

    async def commit(self, transaction: Transaction) -> None:
        raise NotImplementedError

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        raise NotImplementedError


@pytest.fixture
def writer() -> SlowWriter:
    return SlowWriter()


@pytest.fixture
def settled() -> list[str]:
    return []


@pytest.fixture
def pending(writer: SlowWriter, settled: list[str]) -> PendingTransactions[str]:
    async def settle(item: str) -> None:
        await asyncio.sleep(0)
        settled.append(item)

    return PendingTransactions(writer, settle)


async def test_transactions_are_settled_oldest_first_and_down_to_a_limit(
    pending: PendingTransactions[str], writer: SlowWriter, settled: list[str]
) -> None:
    for item in "abc":
        await pending.submit(item, Transaction())
    draining = asyncio.create_task(pending.drain(1))
    for done in reversed(writer.submitted):
        await run_all()
        assert settled == []
        done.set_result(None)
    await draining
    assert (settled, pending.unsettled) == (["a", "b"], ["c"])
    await pending.drain()
    assert (settled, pending.unsettled) == (["a", "b", "c"], [])


async def test_each_is_settled_once_however_many_tasks_drain(
    pending: PendingTransactions[str], writer: SlowWriter, settled: list[str]
) -> None:
    for item in "abc":
        await pending.submit(item, Transaction())
    draining = [asyncio.create_task(pending.drain()) for _ in range(4)]
    for done in writer.submitted:
        await run_all()
        done.set_result(None)
    await asyncio.gather(*draining)
    assert settled == ["a", "b", "c"]


async def test_after_a_failure_it_is_known_what_is_not_settled(
    pending: PendingTransactions[str], writer: SlowWriter, settled: list[str]
) -> None:
    for item in "abc":
        await pending.submit(item, Transaction())
    writer.submitted[0].set_result(None)
    writer.submitted[1].set_exception(Unavailable("away"))
    writer.error = Unavailable("away")
    with pytest.raises(Unavailable):
        await pending.drain()
    with pytest.raises(Unavailable):
        await pending.submit("d", Transaction())
    assert (settled, pending.unsettled) == (["a"], ["b", "c", "d"])


async def test_a_cancelled_drain_cancels_no_commit(
    pending: PendingTransactions[str], writer: SlowWriter, settled: list[str]
) -> None:
    await pending.submit("a", Transaction())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pending.drain(), 0.001)
    writer.submitted[0].set_result(None)
    await pending.drain()
    assert settled == ["a"]


async def test_errors_of_the_writer_are_translated_and_those_of_the_settling_are_not(writer: SlowWriter) -> None:
    @contextmanager
    def translated() -> Iterator[None]:
        try:
            yield
        except Unavailable as exc:
            raise TooLarge("translated") from exc

    async def settle(_: str) -> None:
        raise Unavailable("of the settling")

    pending = PendingTransactions(writer, settle, translated)
    await pending.submit("a", Transaction())
    await pending.submit("b", Transaction())
    writer.submitted[0].set_result(None)
    writer.submitted[1].set_exception(Unavailable("of the commit"))
    with pytest.raises(Unavailable, match="of the settling"):
        await pending.drain()
    with pytest.raises(TooLarge, match="translated"):
        await pending.drain()
    writer.error = Unavailable("of the submit")
    with pytest.raises(TooLarge, match="translated"):
        await pending.submit("c", Transaction())
