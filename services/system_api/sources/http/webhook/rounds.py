"""Deliveries that arrive while one transaction is in flight share the next one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from services.system_api.sources.http.webhook.inbox.delivery import Delivery, Outcome
from shared.errors import Unavailable

_ROWS, _BYTES = 200, 8 * 1_048_576
"""The size of a round, unless its first delivery alone is larger."""

Store = Callable[[Sequence[Delivery]], Awaitable[list[Outcome]]]


@dataclass(eq=False, slots=True)
class _Call:
    delivery: Delivery
    done: asyncio.Future[Outcome]


class Rounds:
    """Stores the deliveries of one source. The first that waits stores for all that wait behind it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[_Call] = deque()
        self._turn = asyncio.Lock()

    async def join(self, delivery: Delivery) -> Outcome:
        """Return what came of a delivery once that is durable.

        Raises:
            Unavailable: it is not known whether it is stored.
        """
        call = _Call(delivery, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        try:
            async with self._turn:
                while not call.done.done():
                    await self._round()
        except asyncio.CancelledError:
            if call in self._waiting:
                self._waiting.remove(call)
            raise
        return call.done.result()

    async def _round(self) -> None:
        calls, size = [self._waiting.popleft()], 0
        size = len(calls[0].delivery.body)
        while self._waiting and len(calls) < _ROWS and size + len(self._waiting[0].delivery.body) <= _BYTES:
            calls.append(self._waiting.popleft())
            size += len(calls[-1].delivery.body)
        error: Exception = Unavailable("the request that stored this delivery too was cancelled")
        outcomes: list[Outcome] = []
        try:
            outcomes = await self._store([call.delivery for call in calls])
        except Exception as exc:  # noqa: BLE001 -- each caller gets it
            error = exc
        finally:
            for number, call in enumerate(calls):
                if call.done.done():
                    continue
                if outcomes:
                    call.done.set_result(outcomes[number])
                else:
                    call.done.set_exception(error)
                    call.done.exception()  # marks it as retrieved: the caller may be gone
