"""Transactions commit in the order of submission, the first failure ends the queue, and each is settled once."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shared.bus.protocol import IN_FLIGHT
from shared.bus.transaction_queue import TransactionQueue, Turn, Work
from shared.errors import Fenced, TooLarge, TrelayError, Unavailable
from shared.runtime.tasks import Tasks


class Recorder:
    """Makes transactions whose steps a test releases, and records the steps in the order in which they happen."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.may_write: dict[str, asyncio.Event] = {}
        self.failures: dict[str, BaseException] = {}

    def transaction(self, name: str, *, held: bool = False) -> Callable[[], Awaitable[Work]]:
        """Return a transaction that writes at once, or, where it is `held`, when its event is set."""
        self.may_write[name] = asyncio.Event()
        if not held:
            self.may_write[name].set()

        async def carry_out(turn: Turn) -> None:
            await turn.previous_written()
            await self.may_write[name].wait()
            if name in self.failures:
                raise self.failures[name]
            self.steps.append(f"{name} written")
            turn.written()
            await turn.previous_committed()
            self.steps.append(f"{name} committed")

        async def prepare() -> Work:
            self.steps.append(f"{name} prepared")
            return carry_out

        return prepare

    def committed(self) -> list[str]:
        return [step.split()[0] for step in self.steps if step.endswith("committed")]


async def run_all() -> None:
    """Let every task run until it waits."""
    for _ in range(30):
        await asyncio.sleep(0)


@asynccontextmanager
async def queue() -> AsyncIterator[tuple[TransactionQueue, Recorder]]:
    async with Tasks() as tasks:
        yield TransactionQueue("writer w", tasks), Recorder()


async def outcome(done: Awaitable[None]) -> type[BaseException] | None:
    try:
        await asyncio.wait_for(done, 60)
    except Exception as exc:  # noqa: BLE001 -- what it is, is the result
        return type(exc)
    return None


async def test_a_transaction_writes_after_the_one_before_and_commits_after_it() -> None:
    async with queue() as (transactions, recorder):
        first = await transactions.submit(recorder.transaction("a", held=True))
        second = await transactions.submit(recorder.transaction("b"))
        await run_all()
        assert recorder.steps == ["a prepared", "b prepared"]
        recorder.may_write["a"].set()
        await asyncio.gather(first, second)
    order = [step for step in recorder.steps if not step.endswith("prepared")]
    assert order.index("a written") < order.index("b written") < order.index("b committed")
    assert recorder.committed() == ["a", "b"]


async def test_no_more_than_the_limit_are_in_flight() -> None:
    async with queue() as (transactions, recorder):
        for number in range(IN_FLIGHT):
            _ = await transactions.submit(recorder.transaction(str(number), held=True))
        further = asyncio.create_task(transactions.submit(recorder.transaction("further")))
        await run_all()
        assert not further.done()
        assert "further prepared" not in recorder.steps
        for event in recorder.may_write.values():
            event.set()
        await (await further)
    assert recorder.committed() == [*map(str, range(IN_FLIGHT)), "further"]


async def test_tasks_that_share_a_queue_submit_in_the_order_in_which_they_call() -> None:
    async with queue() as (transactions, recorder):

        async def commit(name: str) -> None:
            await (await transactions.submit(recorder.transaction(name)))

        names = [str(number) for number in range(20)]
        await asyncio.gather(*(commit(name) for name in names))
    assert recorder.committed() == names


@pytest.mark.parametrize(
    ("failure", "follows"),
    [
        (Unavailable("away"), Unavailable),
        (TooLarge("a record of 5 bytes"), Unavailable),
        (Fenced("a newer writer"), Fenced),
    ],
)
async def test_the_first_failure_ends_the_queue_and_later_transactions_fail_of_its_consequence(
    failure: TrelayError, follows: type[TrelayError]
) -> None:
    async with queue() as (transactions, recorder):
        recorder.failures["b"] = failure
        first = await transactions.submit(recorder.transaction("a", held=True))
        second = await transactions.submit(recorder.transaction("b"))
        third = asyncio.create_task(transactions.submit(recorder.transaction("c")))
        recorder.may_write["a"].set()
        assert await outcome(first) is None
        assert await outcome(second) is type(failure)
        with pytest.raises(follows, match=str(failure)):
            await (await third)
        with pytest.raises(follows, match=str(failure)):
            _ = await transactions.submit(recorder.transaction("d"))
    assert recorder.committed() == ["a"]


async def test_a_failed_preparation_is_raised_to_its_submitter_and_ends_the_queue() -> None:
    async def refuse() -> Work:
        raise TooLarge("a record of 5 bytes")

    async with queue() as (transactions, recorder):
        before = await transactions.submit(recorder.transaction("a", held=True))
        with pytest.raises(TooLarge):
            _ = await transactions.submit(refuse)
        with pytest.raises(Unavailable, match="an earlier transaction of this writer failed: a record of 5 bytes"):
            _ = await transactions.submit(recorder.transaction("b"))
        recorder.may_write["a"].set()
        await before
    assert recorder.committed() == ["a"]


async def test_a_submitter_that_is_cancelled_leaves_the_queue_usable() -> None:
    async with queue() as (transactions, recorder):
        for number in range(IN_FLIGHT):
            _ = await transactions.submit(recorder.transaction(str(number), held=True))
        waiting = asyncio.create_task(transactions.submit(recorder.transaction("cancelled")))
        await run_all()
        waiting.cancel()
        await run_all()
        for event in recorder.may_write.values():
            event.set()
        await (await transactions.submit(recorder.transaction("next")))
    assert recorder.committed() == [*map(str, range(IN_FLIGHT)), "next"]


async def test_a_cancelled_wait_for_a_commit_does_not_stop_the_transaction() -> None:
    async with queue() as (transactions, recorder):
        done = asyncio.ensure_future(await transactions.submit(recorder.transaction("a", held=True)))
        done.cancel()
        recorder.may_write["a"].set()
        await (await transactions.submit(recorder.transaction("b")))
    assert recorder.committed() == ["a", "b"]


async def test_a_transaction_that_is_interrupted_ends_the_queue() -> None:
    recorder = Recorder()
    async with Tasks() as tasks:
        transactions = TransactionQueue("writer w", tasks)
        first = await transactions.submit(recorder.transaction("a", held=True))
        second = await transactions.submit(recorder.transaction("b"))
        await run_all()
    with pytest.raises(Unavailable, match="writer w: interrupted in the middle of a transaction"):
        await first
    with pytest.raises(Unavailable):
        await second


async def test_a_bug_in_a_transaction_ends_the_queue(caplog: pytest.LogCaptureFixture) -> None:
    async with queue() as (transactions, recorder):
        recorder.failures["a"] = ZeroDivisionError()
        assert await outcome(await transactions.submit(recorder.transaction("a"))) is Unavailable
        with pytest.raises(Unavailable):
            _ = await transactions.submit(recorder.transaction("b"))
    await run_all()
    assert "ZeroDivisionError" in caplog.text


async def test_a_closed_queue_ends_the_step_that_runs_and_begins_no_other() -> None:
    async with queue() as (transactions, recorder):
        first = await transactions.submit(recorder.transaction("a", held=True))
        second = await transactions.submit(recorder.transaction("b"))
        await run_all()
        transactions.close()
        recorder.may_write["a"].set()
        await transactions.join(5)
        with pytest.raises(Unavailable, match="writer w was closed"):
            _ = await transactions.submit(recorder.transaction("c"))
        assert await outcome(first) is Unavailable
        assert await outcome(second) is Unavailable
    assert recorder.steps == ["a prepared", "b prepared", "a written"]


async def test_joining_does_not_wait_longer_than_its_timeout() -> None:
    async with queue() as (transactions, recorder):
        await transactions.join(5)
        _ = await transactions.submit(recorder.transaction("a", held=True))
        transactions.close()
        await transactions.join(0.001)
    assert recorder.committed() == []


async def test_exclusive_use_keeps_submitters_out_and_its_error_ends_the_queue() -> None:
    async with queue() as (transactions, recorder):
        async with transactions.exclusive():
            waiting = asyncio.create_task(transactions.submit(recorder.transaction("a")))
            await run_all()
            assert recorder.steps == []
        await (await waiting)
        with pytest.raises(Unavailable, match="no answer"):
            async with transactions.exclusive():
                raise Unavailable("no answer")
        with pytest.raises(Unavailable):
            async with transactions.exclusive():
                pytest.fail("the queue has ended")


async def test_a_failure_that_is_not_awaited_is_not_reported_by_the_event_loop() -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    async with queue() as (transactions, recorder):
        recorder.failures["a"] = Unavailable("away")
        _ = await transactions.submit(recorder.transaction("a"))
        await run_all()
    gc.collect()
    assert reported == []


async def test_transactions_that_are_done_are_not_kept() -> None:
    class Payload:
        pass

    async with queue() as (transactions, _):
        payload = Payload()
        kept = weakref.ref(payload)

        async def prepare(carried: Payload = payload) -> Work:
            async def carry_out(turn: Turn, held: Payload = carried) -> None:
                await turn.previous_committed()

            return carry_out

        await (await transactions.submit(prepare))
        del payload, prepare
        await run_all()
        gc.collect()
        assert kept() is None
