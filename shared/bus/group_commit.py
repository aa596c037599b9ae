"""Group commit: calls that arrive while one round trip is in flight share the next one.

A caller that is cancelled before the round of its call begins takes the call back. Behind that, nobody knows.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from shared.bus.protocol import Outgoing
from shared.errors import TrelayError, Unavailable

logger = logging.getLogger(__name__)

_ROUND_LIMIT = 4 * 1024 * 1024
"""Bytes of all calls in one round, unless the first alone is larger."""
_WAITING_LIMIT = 16 * 1024 * 1024
"""Bytes that may wait for a round; further calls wait until there is room."""


@dataclass(eq=False, slots=True)
class Call:
    """The records of one caller."""

    topic: str
    records: Sequence[Outgoing]
    size: int
    done: asyncio.Future[None]

    def finish(self, error: TrelayError | None = None) -> None:
        """Return to the caller, or raise an error there; nothing happens if the caller was cancelled."""
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)
            self.done.exception()  # marks it as retrieved: the caller may be gone


AppendRound = Callable[[list[Call]], Awaitable[None]]
"""Appends the records of one round, and finishes each of its calls."""


class GroupCommit:
    """Gathers calls into rounds. `run` must be running."""

    def __init__(self, append_round: AppendRound) -> None:
        self._append_round = append_round
        self._waiting: asyncio.Queue[Call] = asyncio.Queue()
        self._postponed: Call | None = None
        self._bytes = 0
        self._room = asyncio.Condition()
        self._callers = 0
        self._no_callers = asyncio.Event()
        self._no_callers.set()
        self._closed = False

    @contextmanager
    def caller(self) -> Iterator[None]:
        """Let `drain` wait for this caller already before it calls `join`, while it looks something up."""
        self._callers += 1
        self._no_callers.clear()
        try:
            yield
        finally:
            self._callers -= 1
            if not self._callers:
                self._no_callers.set()

    async def join(self, topic: str, records: Sequence[Outgoing], size: int) -> None:
        """Return once the records are appended; `size` in bytes.

        Raises:
            Unavailable: the appender was closed meanwhile.
            TrelayError: the error with which the round finished the call.
        """
        await self.add(Call(topic, records, size, asyncio.get_running_loop().create_future()))

    async def add(self, call: Call) -> None:
        """Return once a call is finished, as `join` does. For callers that add to what a call holds."""
        async with self._room:
            await self._room.wait_for(lambda: self._bytes < _WAITING_LIMIT or self._closed)
        if self._closed:
            raise Unavailable("the appender was closed")
        self._bytes += call.size
        self._waiting.put_nowait(call)
        await call.done

    async def run(self) -> None:
        """Append round after round, without end."""
        while True:
            calls = await self._gather()
            try:
                await self._append_round(calls)
            except Exception as exc:
                # An unexpected error ends this round, and not the appender.
                logger.exception("append failed", extra={"component": "bus", "count": len(calls)})
                for call in calls:
                    call.finish(Unavailable(f"append failed: {exc}"))
            finally:
                for call in calls:
                    call.finish(Unavailable("the appender was closed"))
                    self._waiting.task_done()
                self._bytes -= sum(call.size for call in calls)
            async with self._room:
                self._room.notify_all()

    async def drain(self) -> None:
        """Return once every accepted call has finished."""
        await self._no_callers.wait()
        await self._waiting.join()

    async def close(self) -> None:
        """Finish all calls that wait with an error."""
        self._closed = True
        if self._postponed is not None:
            self._postponed.finish(Unavailable("the appender was closed"))
        while not self._waiting.empty():
            self._waiting.get_nowait().finish(Unavailable("the appender was closed"))
        async with self._room:
            self._room.notify_all()

    async def _gather(self) -> list[Call]:
        first = await self._next()
        calls, size = [first], first.size
        while not self._waiting.empty():
            call = self._waiting.get_nowait()
            if self._dropped(call):
                continue
            if size + call.size > _ROUND_LIMIT:
                self._postponed = call
                break
            calls.append(call)
            size += call.size
        return calls

    async def _next(self) -> Call:
        while True:
            call, self._postponed = self._postponed or await self._waiting.get(), None
            if not self._dropped(call):
                return call
            async with self._room:
                self._room.notify_all()

    def _dropped(self, call: Call) -> bool:
        """Drop a call whose caller is gone, as after an outage that was longer than its timeout.

        A caller that was told to try again has done so by now: its records would be there twice.
        """
        if not call.done.done():
            return False
        self._bytes -= call.size
        self._waiting.task_done()
        return True
