"""Publishes what each idempotency key guards once, on all replicas, whatever is killed at whatever moment.

1. A round claims the keys of the pushes that wait (`store.py`): of several replicas, one gets a key.
2. One transaction of the bus publishes the records, and commits the number of the round as the offset of a group that
   has the name of the writer. Both become visible, or neither.
3. The number is noted in the store, and the pushes are answered.

A writer that fails in between is left: another one takes the next round. The one that failed is opened again under its
name, which fences it, so that nothing of it can become visible any more; the offset of its group then says which of its
rounds were published, and the rest is void. If its replica is gone, another replica does that.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Self

from services.experience_api.producers.once.keys import Guarded, Key
from services.experience_api.producers.once.options import OnceOptions
from services.experience_api.producers.once.store import KeyState, KeyStore
from services.experience_api.refusals import BUSY, KEY_REUSED, PUSH_IN_PROGRESS, Refused
from services.experience_api.registry.protocol import Node
from shared.bus.group_commit import Call, GroupCommit
from shared.bus.protocol import Bus, TopicPartition, Transaction, Writer, check_size
from shared.errors import TooLarge, TrelayError, Unavailable
from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.failpoints import reach
from shared.runtime.retry import restarting
from shared.runtime.tasks import Tasks

logger = logging.getLogger(__name__)

_SWEEP_INTERVAL = 60.0
_RETRY = 1.0
_CLOSE_TIMEOUT = 2.0


@dataclass(eq=False, slots=True)
class _GuardedCall(Call):
    guarded: Sequence[Guarded] = ()
    published: int = 0
    """Records that were new."""


@dataclass(slots=True)
class _OpenWriter:
    name: str
    writer: Writer
    stack: AsyncExitStack
    round_number: int = 0
    committed: int = 0


@dataclass(slots=True)
class _Plan:
    """What a round does."""

    transaction: Transaction = field(default_factory=Transaction)
    taken: set[bytes] = field(default_factory=set)
    """Digests of the keys whose records are in the transaction."""


class OnceAppender:
    """Appends to a topic, or to others that a call names. `run` must be running."""

    def __init__(
        self,
        bus: Bus,
        topic: str,
        store: KeyStore,
        node: Callable[[], Node],
        options: OnceOptions,
        new_id: Callable[[], str],
    ) -> None:
        """`node` returns this replica while it holds its lease, and raises `Refused` otherwise."""
        self._bus = bus
        self._topic = topic
        self._store = store
        self._node = node
        self._options = options
        self._new_id = new_id
        self._rounds = GroupCommit(self._append_round)
        self._current: _OpenWriter | None = None
        self._unresolved: set[str] = set()
        """Writers that failed, and are not closed yet."""
        self._sweep_now = asyncio.Event()
        self._full = False

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        bus: Bus,
        topic: str,
        store: KeyStore,
        node: Callable[[], Node],
        options: OnceOptions,
        new_id: Callable[[], str],
    ) -> AsyncIterator[Self]:
        """Append for as long as the context lasts; leaving it publishes what was accepted."""
        appender = cls(bus, topic, store, node, options, new_id)
        try:
            async with Tasks() as tasks:
                tasks.keep("append once", appender._run())
                name = "sweep idempotency keys"
                tasks.keep(name, restarting(name, appender._sweep, SYSTEM_CLOCK))
                yield appender
                await appender._rounds.drain()
        finally:
            await appender._rounds.close()

    async def append(self, guarded: Sequence[Guarded], topic: str = "") -> int:
        """Return how many of the records are new, once all of them are published. The keys differ from each other.

        `topic` is where they are published, by default the topic of this appender.

        Raises:
            Refused: `KEY_REUSED`; `PUSH_IN_PROGRESS`; `BUSY`: the limit of keys is reached; `UNAVAILABLE`: this replica
                has no lease. Nothing was published, except by another push with the same key.
            Unavailable: the bus or the store does not answer. Another push with the same keys finds out what was
                published, and publishes the rest.
            TooLarge: a record is too large for the bus.
        """
        if self._full:
            raise Refused(
                BUSY,
                f"{self._options.keys_limit} idempotency keys are kept, which is the limit "
                "(`experience.entity.once.keys_limit`): push without a key, or wait",
                retry_after=_SWEEP_INTERVAL,
            )
        records = [record for each in guarded for record in each.records]
        topic = topic or self._topic
        size = sum(check_size(topic, record) for record in records)
        call = _GuardedCall(topic, records, size, asyncio.get_running_loop().create_future(), guarded)
        with self._rounds.caller():
            await self._rounds.add(call)
        return call.published

    async def _append_round(self, calls: Sequence[Call]) -> None:
        guarded = [call for call in calls if isinstance(call, _GuardedCall)]
        try:
            await self._round(guarded)
        except TrelayError as exc:
            await self._abandon()
            # Of several calls, nobody knows which one is too large.
            told = (Unavailable, Refused, TooLarge) if len(guarded) == 1 else (Unavailable, Refused)
            for call in guarded:
                call.finish(exc if isinstance(exc, told) else Unavailable(str(exc)))
        except BaseException:
            await self._abandon()
            raise

    async def _round(self, calls: Sequence[_GuardedCall]) -> None:
        own = await self._writer()
        own.round_number += 1
        # Of pushes with one key and other contents, the first is judged: the store keeps its fingerprint.
        found: dict[bytes, Key] = {}
        for call in calls:
            for each in call.guarded:
                found.setdefault(each.key.digest, each.key)
        keys = list(found.values())
        states = await self._store.claim(own.name, own.round_number, keys, own.committed)
        reach("once.claimed")
        if KeyState.ABANDONED in states:
            self._sweep_now.set()
        plan = self._plan(calls, dict(zip(keys, states, strict=True)))
        claimed = [key for key, state in zip(keys, states, strict=True) if state is KeyState.CLAIMED]
        if unused := [key for key in claimed if key.digest not in plan.taken]:
            await self._store.release(own.name, own.round_number, unused)
        if plan.taken:
            plan.transaction.commit_offset(own.name, TopicPartition(self._topic, 0), own.round_number)
            await own.writer.commit(plan.transaction)
            own.committed = own.round_number
            reach("once.published")
            await self._note(own)
        for call in calls:
            call.finish()

    def _plan(self, calls: Sequence[_GuardedCall], states: dict[Key, KeyState]) -> _Plan:
        """Collect what is new, in the order of the calls; finish the calls that are refused."""
        plan = _Plan()
        for call in calls:
            try:
                new = _new(call.guarded, states, plan.taken)
            except Refused as exc:
                call.finish(exc)
                continue
            for each in new:
                plan.taken.add(each.key.digest)
                for record in each.records:
                    plan.transaction.append(call.topic, *record)
                call.published += len(each.records)
        return plan

    async def _note(self, own: _OpenWriter) -> None:
        # What is published is published: without this note, a repetition at once is answered "in progress".
        with suppress(Unavailable):
            await self._store.committed(own.name, own.committed)

    async def _writer(self) -> _OpenWriter:
        if self._current is None:
            node = self._node()
            name = f"push.{self._new_id()}"
            async with AsyncExitStack() as stack:
                writer = await stack.enter_async_context(self._bus.writer(name))
                await self._store.open(name, node)
                self._current = _OpenWriter(name, writer, stack.pop_all())
        return self._current

    async def _abandon(self) -> None:
        """Leave a writer whose last round may have been published, or not."""
        if self._current is not None:
            abandoned, self._current = self._current, None
            self._unresolved.add(abandoned.name)
            self._sweep_now.set()
            await abandoned.stack.aclose()

    async def _run(self) -> None:
        try:
            await self._rounds.run()
        finally:
            await self._leave()

    async def _leave(self) -> None:
        """Close the writer, so that no other replica has to find out what it published."""
        if self._current is not None:
            async with self._current.stack:
                with suppress(TrelayError, TimeoutError):
                    async with asyncio.timeout(_CLOSE_TIMEOUT):
                        await self._store.close(self._current.name, self._current.committed)

    async def _sweep(self) -> None:
        while True:
            pause = _SWEEP_INTERVAL
            try:
                self._node()  # while it has none, the tables may not be there yet
                found = await self._store.sweep(self._options.window_hours, self._options.keys_limit)
                self._full = found.full
                await self._resolve({*self._unresolved, *found.abandoned})
            except Refused:
                pause = _RETRY
            except TrelayError as exc:
                logger.warning("sweep of idempotency keys failed", extra={"component": "entity", "error": str(exc)})
                pause = _RETRY if self._unresolved else _SWEEP_INTERVAL
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._sweep_now.wait()
            self._sweep_now.clear()

    async def _resolve(self, names: Iterable[str]) -> None:
        """Close writers that failed: fence each, and note what it has published."""
        for name in names:
            async with self._bus.writer(name) as writer:
                committed = await writer.committed(name, TopicPartition(self._topic, 0))
            await self._store.close(name, committed or 0)
            self._unresolved.discard(name)
            logger.info("resolved pushes of a failed writer", extra={"component": "entity", "writer": name})


def _new(guarded: Sequence[Guarded], states: dict[Key, KeyState], taken: set[bytes]) -> list[Guarded]:
    """Return what is to be published.

    Raises:
        Refused: `KEY_REUSED`, `PUSH_IN_PROGRESS`.
    """
    # A key without a state is that of another push of this round, with other contents: a later round judges this one.
    found = {states.get(each.key, KeyState.IN_PROGRESS) for each in guarded}
    if KeyState.DIFFERENT in found:
        raise Refused(KEY_REUSED)
    if found & {KeyState.IN_PROGRESS, KeyState.ABANDONED} or any(each.key.digest in taken for each in guarded):
        raise Refused(PUSH_IN_PROGRESS, retry_after=_RETRY)
    return [each for each in guarded if states[each.key] is KeyState.CLAIMED]
