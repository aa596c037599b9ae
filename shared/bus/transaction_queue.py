"""Transactions in the order in which they are submitted: for those who carry them out, and for those who wait for them.

`TransactionQueue` is what the writer of a bus is made of. It runs up to `IN_FLIGHT` transactions at once and orders
their steps: the records of one are written after those of the one before it, and it commits after that one has
committed. The first failure ends the queue.

`PendingTransactions` is for the user of a `Writer`. It keeps what each submitted transaction carries and settles it
once the transaction is committed, oldest first.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from typing import Any, Generic, NamedTuple, TypeVar

from shared.bus.protocol import IN_FLIGHT, Transaction, Writer
from shared.errors import Fenced, TrelayError, Unavailable
from shared.runtime.tasks import Tasks

Item = TypeVar("Item")


def consequence(error: TrelayError) -> TrelayError:
    """Return what a transaction fails with because an earlier one failed with `error`.

    A fenced writer stays fenced. Any other fault belongs to the earlier transaction alone: a record that was too large
    says nothing about the records of this one.
    """
    if isinstance(error, Fenced):
        return Fenced(str(error))
    return Unavailable(f"an earlier transaction of this writer failed: {error}")


class _Step:
    """Something that a transaction does once, and that the next transaction waits for."""

    def __init__(self) -> None:
        self._ended = asyncio.Event()
        self._error: TrelayError | None = None

    def end(self, error: TrelayError | None = None) -> None:
        """Note that the step is done, or that it failed; the first call counts."""
        if not self._ended.is_set():
            self._error = error
            self._ended.set()

    async def ended(self) -> None:
        """Wait until the step is done.

        Raises:
            Fenced, Unavailable: it failed, so the waiting transaction must fail as well.
        """
        await self._ended.wait()
        if self._error is not None:
            raise consequence(self._error) from self._error


class _Progress:
    """How far one transaction is."""

    def __init__(self) -> None:
        self.written = _Step()
        self.committed = _Step()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """What the submitter awaits. Nothing else depends on it, because the submitter may cancel it."""

    def succeed(self) -> None:
        self.written.end()
        self.committed.end()
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, error: TrelayError) -> None:
        self.written.end(error)
        self.committed.end(error)
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()  # marks it as retrieved: a submitter need not await it


class Turn:
    """The place of one transaction in the queue.

    The waits raise `Fenced` or `Unavailable` if the transaction before failed, or the queue was closed meanwhile: this
    transaction must stop there.
    """

    def __init__(self, before: _Progress, own: _Progress, check_open: Callable[[], None]) -> None:
        self._before = before
        self._own = own
        self._check_open = check_open

    async def previous_written(self) -> None:
        """Wait until all records of the transaction before are written."""
        await self._before.written.ended()
        self._check_open()

    def written(self) -> None:
        """Note that all records of this transaction are written: the next transaction may write its own."""
        self._own.written.end()

    async def previous_committed(self) -> None:
        """Wait until the transaction before is committed."""
        await self._before.committed.ended()
        self._check_open()


Work = Callable[[Turn], Coroutine[Any, Any, None]]
"""Carries out one transaction. It is committed when this returns."""

Prepare = Callable[[], Awaitable[Work]]
"""Does what precedes the first step of a transaction, one transaction at a time, in the order of submission."""


class TransactionQueue:
    """The transactions of one writer, at most `IN_FLIGHT` at a time, each running in a task of its own."""

    def __init__(self, name: str, tasks: Tasks) -> None:
        """`name` is what errors and logs call the writer."""
        self._name = name
        self._tasks = tasks
        self._submitting = asyncio.Lock()
        """Tasks that share a writer submit one after the other, in the order in which they call."""
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._running: set[asyncio.Task[None]] = set()
        self._failure: TrelayError | None = None
        self._closed = False
        self._last = _Progress()
        self._last.succeed()

    async def submit(self, prepare: Prepare) -> Awaitable[None]:
        """Add a transaction once a slot is free. The awaitable that is returned is done when it is committed.

        Raises (from here, or from what is returned):
            TrelayError: what the transaction failed with; or, if an earlier one failed, its `consequence`.
        """
        async with self._submitting:
            await self._slots.acquire()
            try:
                with self._ended_by_errors():
                    work = await prepare()
            except BaseException:
                self._slots.release()
                raise
            before, self._last = self._last, _Progress()
            task = self._tasks.start(f"transaction of {self._name}", self._run(work, before, self._last))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            return self._last.done

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Keep others from submitting. An error of the body ends the queue, as that of a transaction does."""
        async with self._submitting:
            with self._ended_by_errors():
                yield

    def close(self) -> None:
        """Accept no further transactions, and begin no further step of those that are in the queue."""
        self._closed = True
        self._fail(self._was_closed())

    async def join(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for the steps that run."""
        if self._running:
            await asyncio.wait(self._running, timeout=timeout)

    async def _run(self, work: Work, before: _Progress, own: _Progress) -> None:
        try:
            await work(Turn(before, own, self._check_open))
            own.succeed()
        except TrelayError as exc:
            self._fail(exc)
            own.fail(exc)
        except BaseException:
            error = Unavailable(f"{self._name}: interrupted in the middle of a transaction")
            self._fail(error)
            own.fail(error)
            raise
        finally:
            self._slots.release()

    @contextmanager
    def _ended_by_errors(self) -> Iterator[None]:
        if self._failure is not None:
            raise consequence(self._failure) from self._failure
        try:
            yield
        except TrelayError as exc:
            self._fail(exc)
            raise

    def _check_open(self) -> None:
        if self._closed:
            raise self._was_closed()

    def _was_closed(self) -> Unavailable:
        return Unavailable(f"{self._name} was closed")

    def _fail(self, error: TrelayError) -> None:
        if self._failure is None:
            self._failure = error


class _Pending(NamedTuple, Generic[Item]):
    item: Item
    committed: Awaitable[None]


class PendingTransactions(Generic[Item]):
    """The transactions that were submitted to a writer and are not settled yet, each with what it carries."""

    def __init__(
        self,
        writer: Writer,
        settle: Callable[[Item], Awaitable[None]],
        errors: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        """`settle` is called once for each committed transaction, oldest first.

        `errors` surrounds every call of the writer, and every wait for a commit: it may translate what they raise.
        """
        self._writer = writer
        self._settle = settle
        self._errors = errors
        self._submitting: Item | None = None
        self._pending: deque[_Pending[Item]] = deque()

    @property
    def unsettled(self) -> list[Item]:
        """What was submitted and is not settled, oldest first.

        After an error of `submit` the last one is the one that it was called with.
        """
        items = [pending.item for pending in self._pending]
        return items if self._submitting is None else [*items, self._submitting]

    async def submit(self, item: Item, transaction: Transaction) -> None:
        """Submit a transaction and keep what it carries. Raises what `Writer.submit` does."""
        self._submitting = item
        with self._errors():
            committed = await self._writer.submit(transaction)
        self._pending.append(_Pending(item, committed))
        self._submitting = None

    async def drain(self, limit: int = 0) -> None:
        """Settle the oldest transactions until at most `limit` are pending.

        Raises what `Writer.submit` does, for the first transaction that failed. It may be called by several tasks at
        once, and cancelled: the transactions continue, and each is settled once.
        """
        while len(self._pending) > limit:
            oldest = self._pending[0]
            with self._errors():
                await asyncio.shield(oldest.committed)
            if self._pending and self._pending[0] is oldest:
                self._pending.popleft()
                await self._settle(oldest.item)
