"""Batches on their way to the bus."""

import asyncio

import pytest

from services.process_api.worker.batch import Batch
from services.process_api.worker.commits import Commits
from shared.bus.protocol import TopicPartition, Transaction, Writer
from shared.errors import Unavailable
from tests.unit.services.process_api.making import batch, event, pipeline, record


class Slow:
    """A `Writer` whose transactions the test makes visible."""

    def __init__(self) -> None:
        self.submitted: list[asyncio.Future[None]] = []
        self.refuse = False

    async def submit(self, transaction: Transaction) -> asyncio.Future[None]:
        if self.refuse:
            raise Unavailable("away")
        self.submitted.append(asyncio.get_running_loop().create_future())
        return self.submitted[-1]

    async def commit(self, transaction: Transaction) -> None:
        await (await self.submit(transaction))

    async def committed(self, group: str, position: TopicPartition) -> int | None:
        raise NotImplementedError


def of(first: int, last: int) -> Batch:
    made = batch(pipeline())
    made.add([record(event(1), offset) for offset in range(first, last + 1)])
    return made


async def test_batches_are_settled_in_their_order_when_they_are_visible() -> None:
    writer, settled = Slow(), list[tuple[int, float]]()
    commits = Commits(writer, lambda done, began: settled.append((done.first, began)))
    await commits.submit(of(0, 4), Transaction(), 1.0)
    await commits.submit(of(5, 6), Transaction(), 2.0)
    assert commits.span == (0, 6)
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(commits.follow())
        await asyncio.sleep(0)
        assert settled == []
        for done in writer.submitted:
            done.set_result(None)
        await commits.drain()
        assert settled == [(0, 1.0), (5, 2.0)]
        await commits.submit(of(7, 7), Transaction(), 3.0)
        writer.submitted[-1].set_result(None)
        await commits.drain()
        following.cancel()
    assert settled[-1] == (7, 3.0)


async def test_an_error_fails_the_commits_that_follow_and_its_span_bounds_the_cause() -> None:
    writer = Slow()
    commits = Commits(writer, lambda _done, _began: None)
    for first in (0, 5, 10):
        await commits.submit(of(first, first + 4), Transaction(), 0.0)
    writer.submitted[0].set_result(None)
    writer.submitted[1].set_exception(Unavailable("away"))
    with pytest.raises(Unavailable):
        await commits.follow()
    assert commits.span == (5, 14)


async def test_a_batch_that_is_refused_at_once_is_in_the_span() -> None:
    writer = Slow()
    commits = Commits(writer, lambda _done, _began: None)
    await commits.submit(of(0, 4), Transaction(), 0.0)
    writer.refuse = True
    with pytest.raises(Unavailable):
        await commits.submit(of(5, 9), Transaction(), 0.0)
    assert commits.span == (0, 9)


async def test_who_stops_waiting_does_not_stop_the_commit() -> None:
    writer: Slow = Slow()
    held: Writer = writer
    settled = list[Batch]()
    commits = Commits(held, lambda done, _began: settled.append(done))
    await commits.submit(of(0, 0), Transaction(), 0.0)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(commits.drain(), 0.001)
    assert not writer.submitted[0].cancelled()
    writer.submitted[0].set_result(None)
    await commits.drain()
    assert len(settled) == 1
