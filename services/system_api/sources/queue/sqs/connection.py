"""Receives messages of SQS in the background, and hides them from others for as long as they are held."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from services.system_api.sources.queue.message import Message, Received
from services.system_api.sources.queue.sqs.client import SqsClient
from services.system_api.sources.queue.sqs.holding import Held, entries, settled
from services.system_api.sources.queue.sqs.messages import message_of, size_of
from services.system_api.sources.queue.sqs.options import SqsSourceOptions
from shared.errors import TrelayError
from shared.runtime.tasks import cancelled, started

T = TypeVar("T")

_PARALLEL = 8
"""Requests at the same time, where their order does not matter."""
_ARRIVAL = 0.5
"""Seconds in which SQS returns messages that wait."""
_RELEASE_TIMEOUT = 2.0

_draining: set[asyncio.Task[None]] = set()
_SYSTEM_ATTRIBUTES = ["ApproximateReceiveCount", "SentTimestamp", "MessageGroupId"]


class SqsConnection:
    """A `Connection` to a queue; it owns its client."""

    def __init__(
        self, client: SqsClient, options: SqsSourceOptions, *, fifo: bool, max_receives: int | None = None
    ) -> None:
        """Receive from now on, and keep hidden what is held; `close` ends that."""
        self._client = client
        self._options = options
        self._max_receives = max_receives
        self._parallel = 1 if fifo else _PARALLEL
        self._held = Held(options.prefetch, options.prefetch_bytes)
        self._waiting: deque[Message] = deque()
        """What was received and not taken yet."""
        self._full = False
        """Whether the last requests have returned all that they may, so that there are probably more."""
        self._asked_at: float | None = asyncio.get_running_loop().time()
        """When the request that is open was sent; None while there is no room for more."""
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._closing = False
        self._problem: Exception | None = None
        self._receiving = started(f"receive from {options.in_words}", self._until_it_fails(self._receive))
        self._hiding = started(f"hide messages of {options.in_words}", self._until_it_fails(self._renew))

    async def close(self) -> None:
        """Release what is held, so that the next connection gets it at once.

        The request that is open goes on in the background: what it returns would stay hidden for the whole timeout.
        """
        self._closing = True
        self._room.set()
        try:
            await cancelled(self._hiding)
            await self._release()
        finally:
            draining = started(f"drain requests to {self._options.in_words}", self._drain())
            _draining.add(draining)
            draining.add_done_callback(_draining.discard)

    async def receive(self, limit: int, max_bytes: int) -> Received:
        """Return what waits; see `Connection`."""
        await self._arrival()
        if self._problem is not None:
            raise self._problem
        taken: list[Message] = []
        size = 0
        while self._waiting and len(taken) < limit and size < max_bytes:
            taken.append(self._waiting.popleft())
            size += len(taken[-1].body)
        if not self._waiting:
            self._arrived.clear()
        waiting = () if taken or self._asked_at is not None else ("messages behind those that are not committed yet",)
        return Received(taken, more=bool(self._waiting) or (self._full and bool(taken)), waiting=waiting)

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        """Delete messages; see `Connection`. What cannot be deleted now is deleted later, or dropped when it comes."""
        self._held.note_published(str(message.token) for message in messages)
        await self._delete()

    async def wait(self) -> None:
        """Return when something was delivered; see `Connection`."""
        await self._arrived.wait()

    async def _arrival(self) -> None:
        """Wait until there is a message, or SQS would have returned one that waits."""
        while not self._waiting and self._asked_at is not None and self._problem is None:
            self._arrived.clear()
            try:
                # A short poll answers in any case, and the long poll behind it at once if there is a message.
                async with asyncio.timeout_at(None if self._full else self._asked_at + _ARRIVAL):
                    await self._arrived.wait()
            except TimeoutError:
                return

    async def _drain(self) -> None:
        try:
            await self._receiving
            await self._release()
        finally:
            await self._client.close()

    async def _release(self) -> None:
        with suppress(TrelayError, TimeoutError):
            async with asyncio.timeout(_RELEASE_TIMEOUT):
                await self._client.quiet()  # what hides messages must not come after what releases them
                await self._delete()
                released = self._held.unpublished
                await self._hide(0)
                self._held.remove(released)  # the next connection may hold it already

    async def _until_it_fails(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as exc:  # noqa: BLE001 -- whatever it is, `receive` raises it: nothing arrives any more
            self._problem = self._problem or exc
            self._arrived.set()

    async def _receive(self) -> None:
        while not self._closing:
            counts = self._held.plan(self._parallel if self._full else 1)
            if not counts:
                self._room.clear()
                self._asked_at = None
                await self._room.wait()
                continue
            self._asked_at = asyncio.get_running_loop().time()
            waits = [0 if self._full else self._options.long_poll, *(0 for _ in counts[1:])]
            short, self._full = self._full, all(await _all(map(self._request, counts, waits)))
            if short and not self._full:
                self._arrived.set()

    async def _request(self, count: int, wait: int) -> bool:
        """Receive messages; return whether there were as many as were asked for."""
        answer = await self._client.request(
            "receive_message",
            MaxNumberOfMessages=count,
            WaitTimeSeconds=wait,
            VisibilityTimeout=self._options.visibility_timeout,
            MessageSystemAttributeNames=_SYSTEM_ATTRIBUTES,
            MessageAttributeNames=["All"],
        )
        delivered = answer.get("Messages", ())
        full = len(delivered) == count
        self._full = self._full or full
        for each in delivered:
            self._held.add(each["ReceiptHandle"], size_of(each))
            self._waiting.append(message_of(each, self._max_receives))
            self._arrived.set()
        return full

    async def _renew(self) -> None:
        """Hide what is held again, long before its visibility timeout ends."""
        while True:
            await asyncio.sleep(self._options.visibility_timeout / 3)
            await self._delete()
            await self._hide(self._options.visibility_timeout)

    async def _hide(self, seconds: int) -> None:
        """Set for how long what is held is hidden from now on. A message that was deleted meanwhile is no error."""

        async def send(batch: list[dict[str, Any]]) -> None:
            timed = [entry | {"VisibilityTimeout": seconds} for entry in batch]
            await self._client.request("change_message_visibility_batch", Entries=timed)

        await self._batches(self._held.unpublished, send)

    async def _delete(self) -> None:
        """Delete what is published."""

        async def send(batch: list[dict[str, Any]]) -> None:
            answer = await self._client.request("delete_message_batch", Entries=batch)
            self._held.remove(settled(batch, answer))
            self._room.set()

        await self._batches(self._held.published, send)

    async def _batches(self, receipts: Sequence[str], send: Callable[[list[dict[str, Any]]], Awaitable[None]]) -> None:
        batches = list(entries(receipts))
        for start in range(0, len(batches), self._parallel):
            await _all(map(send, batches[start : start + self._parallel]))


async def _all(requests: Iterable[Awaitable[T]]) -> list[T]:
    """Return the results of requests at the same time. All of them have ended when the error of one is raised."""
    results = await asyncio.gather(*requests, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results  # type: ignore[return-value] # without exceptions
