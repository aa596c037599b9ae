"""Many small calls to one round trip: while one round is on its way, the next one gathers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from shared.bus.protocol import Outgoing
from shared.errors import TrelayError, Unavailable

logger = logging.getLogger(__name__)

_ROUND_LIMIT = 4 * 1024 * 1024
"""Bytes that the calls of one round amount to, unless the first alone is larger."""
_WAITING_LIMIT = 16 * 1024 * 1024
"""Bytes that may wait for a round; further calls wait to be accepted."""


@dataclass(eq=False, slots=True)
class Call:
    """What one caller wants to have appended."""

    topic: str
    records: Sequence[Outgoing]
    size: int
    done: asyncio.Future[None]

    def end(self, error: TrelayError | None = None) -> None:
        """Tell the caller, if he still waits."""
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)
            self.done.exception()  # counts as looked at: the caller may be gone


CarryOut = Callable[[list[Call]], Awaitable[None]]
"""Carries out the calls of one round, and ends each of them."""


class GroupCommit:
    """Gathers calls and has them carried out. `run` must be running."""

    def __init__(self, carry_out: CarryOut) -> None:
        self._carry_out = carry_out
        self._waiting: asyncio.Queue[Call] = asyncio.Queue()
        self._held_back: Call | None = None
        self._bytes = 0
        self._room = asyncio.Condition()
        self._callers = 0
        self._no_callers = asyncio.Event()
        self._no_callers.set()
        self._closed = False

    @contextmanager
    def caller(self) -> Iterator[None]:
        """Be one of those whom `drain` waits for, from before `join` on: for what has to be looked up first."""
        self._callers += 1
        self._no_callers.clear()
        try:
            yield
        finally:
            self._callers -= 1
            if not self._callers:
                self._no_callers.set()

    async def join(self, topic: str, records: Sequence[Outgoing], size: int) -> None:
        """Return once a round has carried this out; `size` in bytes.

        Raises:
            Unavailable: closed meanwhile.
            TrelayError: as the round ended the call.
        """
        async with self._room:
            await self._room.wait_for(lambda: self._bytes < _WAITING_LIMIT or self._closed)
        if self._closed:
            raise Unavailable("the appender was closed")
        call = Call(topic, records, size, asyncio.get_running_loop().create_future())
        self._bytes += size
        self._waiting.put_nowait(call)
        await call.done

    async def run(self) -> None:
        """Carry out round after round, for ever."""
        while True:
            calls = await self._gather()
            try:
                await self._carry_out(calls)
            except Exception as exc:
                # Nobody foresaw it; whatever it is, it is the problem of this round and not of the next.
                logger.exception("a round of appended records failed")
                for call in calls:
                    call.end(Unavailable(f"appending failed: {exc}"))
            finally:
                for call in calls:
                    call.end(Unavailable("the appender was closed"))
                    self._waiting.task_done()
                self._bytes -= sum(call.size for call in calls)
            async with self._room:
                self._room.notify_all()

    async def drain(self) -> None:
        """Return once all that was accepted is done with."""
        await self._no_callers.wait()
        await self._waiting.join()

    async def close(self) -> None:
        """End what still waits."""
        self._closed = True
        if self._held_back is not None:
            self._held_back.end(Unavailable("the appender was closed"))
        while not self._waiting.empty():
            self._waiting.get_nowait().end(Unavailable("the appender was closed"))
        async with self._room:
            self._room.notify_all()

    async def _gather(self) -> list[Call]:
        first, self._held_back = self._held_back or await self._waiting.get(), None
        calls, size = [first], first.size
        while not self._waiting.empty():
            call = self._waiting.get_nowait()
            if size + call.size > _ROUND_LIMIT:
                self._held_back = call
                break
            calls.append(call)
            size += call.size
        return calls
