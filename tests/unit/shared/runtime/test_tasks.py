"""Background tasks are logged when they fail, and end with their context."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from shared.errors import SettingsError
from shared.runtime.tasks import Tasks, cancelled, hedged, together


async def forever(started: asyncio.Event, ended: list[str] | None = None) -> None:
    started.set()
    try:
        await asyncio.Event().wait()
    finally:
        if ended is not None:
            ended.append("ended")


async def breaks(error: Exception | None = None) -> None:
    raise error or ValueError("broken")


async def ends() -> None:
    return


async def test_leaving_the_context_cancels_and_awaits() -> None:
    started, ended = asyncio.Event(), list[str]()
    async with Tasks() as tasks:
        tasks.keep("endless", forever(started, ended))
        await started.wait()
        assert not ended
    assert ended == ["ended"]


@pytest.mark.parametrize(("raised", "traced"), [(ValueError("broken"), True), (SettingsError("broken"), False)])
async def test_a_failure_is_logged_with_its_name_and_reported(
    raised: Exception, caplog: pytest.LogCaptureFixture, *, traced: bool
) -> None:
    async with Tasks() as tasks:
        other = tasks.start("endless", forever(asyncio.Event()))
        tasks.keep("the poller of orders", breaks(raised))
        assert await tasks.failed() is raised
        (record,) = caplog.records
        assert record.getMessage() == "task failed"
        assert vars(record)["task"] == "the poller of orders"
        assert vars(record)["error"] == "broken"
        assert (record.exc_info is not None) is traced
        assert not other.done()


async def test_endless_work_that_ends_is_a_failure() -> None:
    async with Tasks() as tasks:
        tasks.keep("feed", ends())
        assert "feed ended unexpectedly" in str(await tasks.failed())


async def test_endless_work_that_is_cancelled_from_within_is_a_failure() -> None:
    async def waits_for_what_is_cancelled() -> None:
        other = asyncio.get_running_loop().create_future()
        other.cancel()
        await other

    async with Tasks() as tasks:
        tasks.keep("feed", waits_for_what_is_cancelled())
        assert "feed ended unexpectedly" in str(await tasks.failed())


async def test_work_that_returns_when_it_is_cancelled_has_not_failed(caplog: pytest.LogCaptureFixture) -> None:
    started = asyncio.Event()
    async with Tasks() as tasks:
        tasks.keep("feed", ignores_cancellation(0, started))
        await started.wait()
    assert caplog.text == ""


async def test_work_that_may_end_has_not_failed() -> None:
    async with Tasks() as tasks:
        await tasks.start("once", ends())
        waiting = asyncio.ensure_future(tasks.failed())
        await asyncio.sleep(0)
        assert not waiting.done()
        await cancelled(waiting)


async def test_work_meanwhile_returns_its_result() -> None:
    async def work() -> int:
        return 7

    async with Tasks() as tasks:
        tasks.keep("endless", forever(asyncio.Event()))
        assert await tasks.meanwhile(work()) == 7


async def test_work_meanwhile_is_cancelled_by_a_failure() -> None:
    started, ended = asyncio.Event(), list[str]()

    async def breaks_later() -> None:
        await started.wait()
        raise ValueError("broken")

    async with Tasks() as tasks:
        tasks.keep("the process layer", breaks_later())
        with pytest.raises(ValueError, match="broken"):
            await tasks.meanwhile(forever(started, ended))
        assert ended == ["ended"]


async def test_cancelled_waits_for_the_end() -> None:
    started = asyncio.Event()
    task = asyncio.ensure_future(forever(started))
    await started.wait()
    await cancelled(task)
    assert task.cancelled()


async def ignores_cancellation(times: int, started: asyncio.Event) -> None:
    """Lose as many cancellations as `asyncio.wait_for` of Python 3.11 may lose."""
    for _ in range(times + 1):
        try:
            started.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def test_a_task_that_loses_a_cancellation_is_cancelled_again(caplog: pytest.LogCaptureFixture) -> None:
    started = asyncio.Event()
    task = asyncio.get_running_loop().create_task(ignores_cancellation(2, started), name="mails")
    await started.wait()
    async with asyncio.timeout(60):
        await cancelled(task, interval=0.01, timeout=10)
    assert task.done()
    warned = {(record.getMessage(), vars(record)["task"]) for record in caplog.records}
    assert warned == {("task still running after cancel; cancelling again", "mails")}
    assert all(vars(record)["after_s"] >= 0 for record in caplog.records)


async def test_a_task_that_never_ends_is_abandoned_by_name(caplog: pytest.LogCaptureFixture) -> None:
    started, ended = asyncio.Event(), list[str]()
    stubborn = asyncio.get_running_loop().create_task(ignores_cancellation(100, started), name="a stubborn reader")
    other = asyncio.get_running_loop().create_task(forever(asyncio.Event(), ended), name="a good one")
    await started.wait()
    async with asyncio.timeout(60):
        await cancelled(stubborn, other, interval=0.01, timeout=0.1)
    assert ended == ["ended"]
    assert (caplog.messages[-1], vars(caplog.records[-1])["task"]) == (
        "task ignored cancellation; abandoned",
        "a stubborn reader",
    )
    assert "a good one" not in {vars(record)["task"] for record in caplog.records}
    while not stubborn.done():
        stubborn.cancel()
        await asyncio.sleep(0)


async def test_a_caller_that_is_cancelled_waits_for_its_tasks_first() -> None:
    started, may_end, ended = asyncio.Event(), asyncio.Event(), list[str]()

    async def closes_slowly() -> None:
        try:
            started.set()
            await asyncio.Event().wait()
        finally:
            while not may_end.is_set():
                try:
                    await may_end.wait()
                except asyncio.CancelledError:
                    continue
            ended.append("closed")

    async def owner() -> None:
        async with Tasks() as tasks:
            tasks.keep("reader", closes_slowly())
            await started.wait()
        ended.append("not reached")

    owning = asyncio.get_running_loop().create_task(owner(), name="owner")
    await started.wait()
    for _ in range(3):  # leaving the context, and twice more
        owning.cancel()
        await asyncio.sleep(0)
    assert not owning.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await owning
    assert ended == ["closed"]


class Attempts:
    """Attempts that end when the test says so."""

    def __init__(self, count: int) -> None:
        self.begun: list[int] = []
        self.cancelled: list[int] = []
        self.futures = [asyncio.get_running_loop().create_future() for _ in range(count)]

    def __call__(self, number: int) -> Callable[[], Coroutine[Any, Any, str]]:
        async def attempt() -> str:
            self.begun.append(number)
            try:
                return str(await asyncio.shield(self.futures[number]))
            except asyncio.CancelledError:
                self.cancelled.append(number)
                raise

        return attempt


async def test_the_second_attempt_begins_beside_a_first_that_takes_long() -> None:
    attempts = Attempts(3)
    attempts.futures[1].set_result("second")
    assert await hedged([attempts(number) for number in range(3)], 0.001, (OSError,)) == "second"
    assert attempts.begun == [0, 1]
    assert attempts.cancelled == [0]


async def test_the_second_attempt_begins_at_once_when_the_first_fails() -> None:
    attempts = Attempts(2)
    attempts.futures[0].set_exception(OSError("first"))
    attempts.futures[1].set_result("second")
    assert await hedged([attempts(0), attempts(1)], 3600, (OSError,)) == "second"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_attempts_that_end_together_are_all_retrieved(order: tuple[int, int]) -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    attempts = Attempts(2)
    hedging = asyncio.get_running_loop().create_task(hedged([attempts(0), attempts(1)], 0, (OSError,)))
    while attempts.begun != [0, 1]:
        await asyncio.sleep(0)
    for number in order:
        if number == 0:
            attempts.futures[0].set_result("first")
        else:
            attempts.futures[1].set_exception(OSError("second"))
    assert await hedging == "first"
    del hedging, attempts
    gc.collect()
    assert not complaints


async def test_when_all_attempts_fail_the_last_failure_is_raised() -> None:
    attempts = Attempts(2)
    for number, text in enumerate(("first", "last")):
        attempts.futures[number].set_exception(OSError(text))
    with pytest.raises(OSError, match="last"):
        await hedged([attempts(0), attempts(1)], 3600, (OSError,))


async def test_an_error_that_is_no_failure_ends_all_attempts() -> None:
    attempts = Attempts(2)
    attempts.futures[0].set_exception(ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        await hedged([attempts(0), attempts(1)], 3600, (OSError,))
    assert attempts.begun == [0]


async def returns(result: Any) -> Any:
    return result


async def raises(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize("count", [0, 1, 2, 3])
async def test_what_runs_together_may_return_errors(count: int) -> None:
    results = [ValueError("returned"), "text", asyncio.CancelledError()][:count]
    assert await together(*map(returns, results)) == results


@pytest.mark.parametrize("errors", [[ValueError("first"), OSError("second")], [asyncio.CancelledError("first")] * 2])
async def test_the_first_error_is_raised_once_all_have_ended(errors: list[BaseException]) -> None:
    ended: list[str] = []

    async def late() -> None:
        await asyncio.sleep(0)
        ended.append("late")

    with pytest.raises(type(errors[0])):
        await together(returns(1), *map(raises, errors), late())
    assert ended == ["late"]


async def test_a_cancellation_ends_what_runs_together() -> None:
    started, ended = [asyncio.Event(), asyncio.Event()], list[str]()
    both = asyncio.get_running_loop().create_task(together(*(forever(event, ended) for event in started)))
    for event in started:
        await event.wait()
    both.cancel()
    with pytest.raises(asyncio.CancelledError):
        await both
    assert ended == ["ended", "ended"]
