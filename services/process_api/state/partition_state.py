"""The state of all pipelines in one partition, for one run of the partition.

    restore     before the first record: what the changelog has and the store lacks
    activate    when pipelines begin to run: which state is whose
    seal        with each transaction: its changes, as records for the changelog
    settle      once it is committed: the store gets them

An error ends the run; what was not settled is dropped, and the next run restores what was committed.
"""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import islice

from services.process_api.state.changes import Layers
from services.process_api.state.definitions import Definitions
from services.process_api.state.keys import DEFINITIONS, KINDS, prefix_of
from services.process_api.state.step_state import Moment, PipelineState, StepState
from services.process_api.state.store import Mark, Store
from shared.bus.protocol import Bus, Outgoing, Record, TopicPartition
from shared.errors import PositionLost
from shared.runtime.clock import Clock

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
        self._pipelines: dict[str, PipelineState] = {}
        self._offset = (clock.time() - clock.monotonic()) * 1000
        self._sealed = self._settled = 0
        self._confirmed: tuple[int, Mark] | None = None
        """A mark that holds once so many transactions are settled."""

    @property
    def now(self) -> int:
        """Milliseconds since 1970. Steps of the clock of the machine do not change it."""
        return int(self._clock.monotonic() * 1000 + self._offset)

    async def restore(self) -> None:
        """Bring the store up to the changelog. Call it once all older owners of the partition are fenced.

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
        self._obsolete = self._definitions.obsolete

    def activate(self, pipelines: Mapping[str, Sequence[str]]) -> dict[str, list[StepState]]:
        """Return the state of each step of these pipelines, by the names of their definitions.

        The state of definitions that are not among them is deleted.
        """
        assert not any(state.provisional for state in self._pipelines.values()), "pipelines change between records"
        if self._definitions.run(name for names in pipelines.values() for name in names):
            self._layers.open[DEFINITIONS] = self._definitions.write()
            self._obsolete = self._definitions.obsolete
        made: dict[str, list[StepState]] = {}
        self._pipelines = {}
        for pipeline, definitions in pipelines.items():
            state = self._pipelines[pipeline] = PipelineState(self._layers, self.moment)
            made[pipeline] = [StepState(state, self._definitions.active[name]) for name in definitions]
        return made

    def keep(self, pipeline: str) -> None:
        """Keep what a pipeline has changed since the last `keep` or `undo`."""
        self._pipelines[pipeline].keep()

    def undo(self, pipeline: str) -> None:
        """Undo what a pipeline has changed since the last `keep` or `undo`."""
        self._pipelines[pipeline].undo()

    def seal(self) -> list[Outgoing]:
        """End a transaction: return its changes as records for the changelog."""
        self._delete_obsolete()
        self._sealed += 1
        return [Outgoing(key, value) for key, value in self._layers.seal().items()]

    async def settle(self) -> None:
        """Store the changes of the oldest transaction that was sealed: it is committed."""
        changes = self._layers.sealed[0]
        mark = None
        if self._confirmed is not None and self._confirmed[0] <= self._settled + 1:
            mark, self._confirmed = self._confirmed[1], None
        if len(changes) > _DIRECT:
            await asyncio.to_thread(self._layers.store.apply, changes, mark)
        elif changes or mark:
            self._layers.store.apply(changes, mark)
        self._layers.sealed.popleft()
        self._settled += 1

    async def confirm(self) -> None:
        """Note how far the changelog is, so that the next run need not read it again up to there.

        What is visible now was sealed before; once all of that is settled, the store has it. A bus that returns an
        older end, as a broker does that was replaced, only makes the next restoration longer.

        Raises:
            Unavailable: the bus does not answer.
        """
        now = int(self._clock.time() * 1000)
        end = (await self._bus.bounds(self.place.topic))[self.place.partition][1]
        self._confirmed = (self._sealed, Mark(self._epoch, end, now))
        if self._settled == self._sealed:
            self._layers.store.apply({}, self._confirmed[1])
            self._confirmed = None

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
            keys = list(islice(self._layers.scan(table, table + _LAST, {}), limit - count))
            self._layers.open.update(dict.fromkeys(keys))
            count += len(keys)
        return count
