"""Plain functions wait on the event loop, below the coroutine that calls them."""

import asyncio
import contextvars

import pytest

from shared.runtime.tasks import cancelled, started, together
from shared.suspension import greenlets as suspension
from shared.suspension.greenlets import can_suspend, resumed, suspendable, wait

NAME = contextvars.ContextVar("NAME", default="")


def plain(future: "asyncio.Future[str]") -> str:
    assert can_suspend()
    return f"found {wait(future)}"


async def work(future: "asyncio.Future[str]") -> str:
    await asyncio.sleep(0)
    NAME.set("set below")
    found = plain(future)
    await asyncio.sleep(0)
    return found


async def test_other_tasks_run_while_a_plain_function_waits() -> None:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = started("test", suspendable(work(future)))
    await asyncio.sleep(0.01)
    assert not task.done()
    future.set_result("it")
    assert await task == "found it"
    assert not can_suspend()


async def test_it_is_part_of_its_task() -> None:
    """Its context and its task are those of the caller."""
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    future.set_result("it")

    async def itself() -> "asyncio.Task[object] | None":
        return asyncio.current_task()

    assert await suspendable(work(future)) == "found it"
    assert NAME.get() == "set below"
    assert await suspendable(itself()) is asyncio.current_task()


async def test_errors_pass_in_both_directions() -> None:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    future.set_exception(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await suspendable(work(future))

    async def caught() -> str:
        try:
            return plain(future)
        except ValueError as exc:
            return str(exc)

    assert await suspendable(caught()) == "no"


async def test_a_cancellation_arrives_where_it_waits() -> None:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    seen: list[str] = []

    async def ended() -> None:
        try:
            plain(future)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            seen.append("cleaned up")
            raise

    task = started("test", suspendable(ended()))
    await asyncio.sleep(0)
    await cancelled(task)
    assert (task.cancelled(), future.cancelled(), seen) == (True, True, ["cleaned up"])


async def test_one_may_be_below_another() -> None:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def inner() -> str:
        return await suspendable(work(future))

    task = started("test", suspendable(inner()))
    await asyncio.sleep(0)
    future.set_result("it")
    assert await task == "found it"


async def test_work_that_is_not_begun_again_is_closed() -> None:
    seen: list[str] = []

    async def forgotten() -> None:
        try:
            wait(asyncio.get_running_loop().create_future())
        finally:
            seen.append("closed")

    coroutine = suspendable(forgotten())
    coroutine.send(None)
    coroutine.close()
    assert seen == ["closed"]


async def test_long_work_lets_others_run_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspension, "_BREATHE_AFTER", 0.0)
    turns: list[int] = []

    async def long() -> list[int]:
        seen = []
        for _ in range(3):
            suspension.breathe()
            seen.append(len(turns))
        return seen

    async def others() -> None:
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    task = started("others", others())
    assert sorted(set(await suspendable(long()))) == [1, 2, 3]
    await cancelled(task)
    monkeypatch.setattr(suspension, "_BREATHE_AFTER", 60.0)
    assert len(set(await suspendable(long()))) == 1
    suspension.breathe()  # nothing to let run


async def test_what_runs_together_is_suspendable_where_its_caller_is() -> None:
    futures = [asyncio.get_running_loop().create_future() for _ in range(2)]
    task = started("test", suspendable(together(*(work(future) for future in futures))))
    await asyncio.sleep(0.01)
    for number, future in enumerate(futures):
        future.set_result(str(number))
    assert await task == ["found 0", "found 1"]


async def test_a_number_tells_whether_other_tasks_ran() -> None:
    async def compared() -> tuple[bool, bool]:
        before, again = resumed(), resumed()
        wait(asyncio.sleep(0))
        return before == again, before == resumed()

    assert await suspendable(compared()) == (True, False)
    assert resumed() == 0
