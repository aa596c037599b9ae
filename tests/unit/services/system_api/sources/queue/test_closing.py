"""A connection is closed whatever interrupts its user."""

import asyncio
import gc
import weakref
from typing import Any

import pytest

from services.system_api.sources.queue.closing import detached, surely_closed
from shared.runtime.tasks import started


class Connections:
    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.may_open = asyncio.Event()
        self.closed = asyncio.Event()
        self.may_close = asyncio.Event()
        self.may_close.set()
        self.error: Exception | None = None

    async def open(self) -> str:
        await self.may_open.wait()
        self.opened.set()
        return "connection"

    async def close(self, connection: str) -> None:
        assert connection == "connection"
        await self.may_close.wait()
        self.closed.set()
        if self.error is not None:
            raise self.error

    async def use(self) -> None:
        async with surely_closed("it", self.open(), self.close):
            await asyncio.Event().wait()


async def test_a_user_that_is_cancelled_while_it_opens() -> None:
    connections = Connections()
    user = started("user", connections.use())
    await asyncio.sleep(0)
    user.cancel()
    with pytest.raises(asyncio.CancelledError):
        await user
    connections.may_open.set()
    await asyncio.wait_for(connections.closed.wait(), 60)


async def test_a_user_that_is_cancelled_twice() -> None:
    connections = Connections()
    connections.may_open.set()
    connections.may_close.clear()
    user = started("user", connections.use())
    await connections.opened.wait()
    for _ in range(2):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        user.cancel()
    with pytest.raises(asyncio.CancelledError):
        await user
    connections.may_close.set()
    await asyncio.wait_for(connections.closed.wait(), 60)


async def test_an_error_of_closing_is_dropped_and_one_of_opening_raised() -> None:
    connections = Connections()
    connections.may_open.set()
    connections.error = OSError("broken")
    async with surely_closed("it", connections.open(), connections.close) as connection:
        assert connection == "connection"

    async def refused() -> str:
        raise OSError("refused")

    with pytest.raises(OSError, match="refused"):
        async with surely_closed("it", refused(), connections.close):
            pytest.fail("it is not open")


class Request:
    """A request that waits, and then for what nothing else refers to: for the end of a connection, for example."""

    def __init__(self) -> None:
        self.sent = asyncio.Event()
        self.cancelled = False
        self.unheeded: set[asyncio.Task[Any]] | None = None

    async def send(self) -> None:
        try:
            self.sent.set()
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled = True
            await asyncio.get_running_loop().create_future()


async def cancelled_with(request: Request, *given: Any) -> list[dict[str, Any]]:
    """Cancel the caller of a request; return the errors that this leaves behind."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    caller = started("caller", detached("it", request.send(), *given))
    await request.sent.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    del caller
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()
    return found


async def test_a_request_whose_caller_is_cancelled_is_not_destroyed_while_it_ends() -> None:
    request = Request()
    assert await cancelled_with(request) == []
    assert request.cancelled


async def test_a_request_may_go_on_without_its_caller() -> None:
    request, unheeded = Request(), set[asyncio.Task[Any]]()
    assert await cancelled_with(request, unheeded) == []
    assert not request.cancelled
    (left,) = unheeded
    left.cancel()
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.wait(unheeded)
    await asyncio.sleep(0)
    assert unheeded == set()


async def test_a_request_goes_on_though_its_client_is_gone() -> None:
    request = Request()
    # As the set of a client: the task of the request alone refers to it, and nothing else to the task.
    request.unheeded = set[asyncio.Task[Any]]()
    found = await cancelled_with(request, request.unheeded)
    task = weakref.ref(next(iter(request.unheeded)))
    del request
    gc.collect()
    assert found == []
    left = task()
    assert left is not None, "a task that is destroyed while it waits is an error in the log"
    for _ in range(2):  # it waits once more when it is cancelled
        left.cancel()
        await asyncio.sleep(0)


async def test_requests_that_were_sent_together_go_on_where_their_caller_is_gone() -> None:
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    request = Request()
    sent = request.sent

    async def together(request: Request) -> None:
        await asyncio.gather(detached("it", request.send(), set()))

    caller = together(request)
    caller.send(None)
    await sent.wait()
    # Unlike a cancellation, an error that ends the caller leaves what it waits for as it is.
    with pytest.raises(OSError, match="interrupted"):
        caller.throw(OSError("interrupted"))
    del caller, request
    gc.collect()
    assert found == []
    left = next(each for each in asyncio.all_tasks() if each.get_name() == "it")
    for _ in range(2):
        left.cancel()
        await asyncio.sleep(0)
