"""The state of all pipelines in one partition, for one run of the partition.

    restore     before the first record: what the changelog has and the store lacks
    activate    when pipelines begin to run: which state is whose
    seal        with each transaction: its changes, as records for the changelog
    settle      once it is committed: the store gets them

An error ends the run; what was not settled is dropped, and the next run restores what was committed.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from services.process_api.state.changes import Layers
from services.process_api.state.definitions import Definitions
from services.process_api.state.keys import DEFINITIONS, KINDS, prefix_of
from services.process_api.state.running import RunningState
from services.process_api.state.step_state import Moment
from services.process_api.state.store import Changes, Mark, Store
from shared.bus.protocol import Bus, Outgoing, Record, TopicPartition
from shared.errors import PositionLost
from shared.runtime.clock import Clock
from shared.runtime.tasks import started

_MARK_AGE_MS = 12 * 3_600_000
"""A store that has not followed the changelog for so long is cleared: the bus keeps deletions for 24 hours."""

_DELETIONS = 500
"""Keys of obsolete state that one transaction deletes."""

_DIRECT = 256
"""Up to so many changes are stored at once; more of them in a thread, so that other tasks run."""

_LAST = b"\xff" * 1100


class PartitionState:
    """The state of one partition. `restore` comes first."""

    def __init__(self, bus: Bus, place: TopicPartition, store: Store, clock: Clock) -> None:
        """`place` is the partition of the changelog."""
        self.place = place
        self.moment = Moment()
        self.restored = 0
        """Records that the restoration has read."""
        self._bus = bus
        self._clock = clock
        self._layers = Layers(store)
        self._epoch = ""
        self._definitions = Definitions()
        self._obsolete: list[int] = []
        self._deleted_up_to: dict[bytes, bytes] = {}
        """The last key that was deleted of obsolete state, by what its table begins with. What is left is sought from
        there on: RocksDB passes deleted keys one by one until it has compacted them."""
        self._settling = asyncio.Lock()
        self._offset = (clock.time() - clock.monotonic()) * 1000
        self._sealed = self._settled = 0
        self._confirmed: tuple[int, Mark] | None = None
        """A mark that holds once so many transactions are settled."""

    @property
    def changed(self) -> bool:
        """Whether the open transaction changes anything."""
        return bool(self._layers.open)

    def now(self) -> int:
        """Milliseconds since 1970. Steps of the clock of the machine do not change it."""
        return int(self._clock.monotonic() * 1000 + self._offset)

    async def restore(self, offset: int) -> bool:
        """Bring the store up to the changelog. Call it once all older owners of the partition are fenced.

        `offset` is that of the input from which the run begins. Returns whether the state is complete up to there: not
        if the offset was reset, or committed by a release or by settings without stateful steps. Such state would lack
        events, or count some twice, so it is deleted, and the steps begin with none.

        Raises:
            Unavailable: the bus does not answer.
        """
        store, began = self._layers.store, int(self._clock.time() * 1000)
        self._epoch = await self._bus.epoch(self.place.topic)
        mark = store.mark
        if mark is None or mark.epoch != self._epoch or not 0 <= began - mark.confirmed_ms <= _MARK_AGE_MS:
            store.clear()
            mark = None
        try:
            end = await self._bus.replay(self.place, None if mark is None else mark.offset, self._apply)
        except PositionLost:
            store.clear()
            end = await self._bus.replay(self.place, None, self._apply)
        store.apply({}, Mark(self._epoch, end, began))
        self._definitions = Definitions.read(store.get(DEFINITIONS))
        complete = self._definitions.offset in {None, offset}
        if not complete:
            self._definitions.active = {}
        self._obsolete = self._definitions.obsolete
        return complete

    def activate(self, pipelines: Mapping[str, Mapping[str, str]]) -> RunningState:
        """Return the state of these pipelines, each with the definitions of its steps by their places.

        The state of definitions that are not among them is deleted.
        """
        names = [name for places in pipelines.values() for name in places.values()]
        if self._definitions.run(names):
            self._obsolete = self._definitions.obsolete
        return RunningState(self._layers, self.moment, self.now, pipelines, self._definitions.active)

    def forget(self, names: Iterable[str]) -> None:
        """Delete the state of these definitions with the next transactions; they begin anew."""
        kept = set(self._definitions.active) - set(names)
        self._definitions.run(sorted(kept))
        self._obsolete = self._definitions.obsolete

    def seal(self, offset: int) -> list[Outgoing]:
        """End a transaction that commits `offset` of the input: return its changes as records for the changelog."""
        self._delete_obsolete()
        self._layers.open[DEFINITIONS] = self._definitions.write(offset)
        self._sealed += 1
        return [Outgoing(key, value) for key, value in self._layers.seal().items()]

    async def settle(self) -> None:
        """Store the changes of the oldest transaction that was sealed: it is committed."""
        async with self._settling:
            await self._settle_oldest()

    async def _settle_oldest(self) -> None:
        changes = self._layers.sealed[0]
        mark = None
        if self._confirmed is not None and self._confirmed[0] <= self._settled + 1:
            mark, self._confirmed = self._confirmed[1], None
        if len(changes) > _DIRECT and self._layers.store.threaded:
            await self._apply_in_thread(changes, mark)
        else:
            self._layers.store.apply(changes, mark)
        self._layers.sealed.popleft()
        self._settled += 1

    async def _apply_in_thread(self, changes: Changes, mark: Mark | None) -> None:
        """Store changes in a thread; where this is cancelled, wait for the thread: the next run uses the same store."""
        work = asyncio.to_thread(self._layers.store.apply, changes, mark)
        applying = started(f"state of {self.place.topic}/{self.place.partition}", work)
        try:
            await asyncio.shield(applying)
        except asyncio.CancelledError:
            await asyncio.wait([applying])
            raise

    async def confirm(self) -> None:
        """Note how far the changelog is, so that the next run need not read it again up to there.

        What is visible now is in the store once the next transaction is settled. Its commit proves that no other owner
        had written to the changelog before: a process that was paused may have lost the partition, and not know it
        yet. A bus that returns an older end, as a replaced broker does, only makes the next restoration longer.

        Raises:
            Unavailable: the bus does not answer.
        """
        now = int(self._clock.time() * 1000)
        end = (await self._bus.bounds(self.place.topic))[self.place.partition][1]
        self._confirmed = (self._sealed + 1, Mark(self._epoch, end, now))

    def _apply(self, records: Sequence[Record]) -> None:
        changes: dict[bytes, bytes | None] = {}
        for record in records:
            if record.key is not None:
                changes[record.key] = record.value
        self.restored += len(records)
        self._layers.store.apply(changes)

    def _delete_obsolete(self) -> None:
        left = _DELETIONS
        while self._obsolete and left:
            prefix = prefix_of(self._obsolete[-1])
            left -= self._delete_some(prefix, left)
            if left:
                self._obsolete.pop()

    def _delete_some(self, prefix: bytes, limit: int) -> int:
        """Delete up to `limit` keys of an instance; return how many."""
        count = 0
        for kind in KINDS:
            table = prefix + kind
            start = self._deleted_up_to.get(table, table)
            keys = list(islice(self._layers.scan(start, table + _LAST, {}), limit - count))
            self._layers.open.update(dict.fromkeys(keys))
            count += len(keys)
            if keys:
                self._deleted_up_to[table] = keys[-1]
        return count
