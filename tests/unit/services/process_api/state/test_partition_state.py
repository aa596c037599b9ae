"""The state of one partition: restored from what was committed, whatever was in flight."""

import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.process_api.state.keys import DEFINITIONS, LONGEST_KEY, prefix_of
from services.process_api.state.memory import MemoryStore
from services.process_api.state.partition_state import PartitionState
from services.process_api.state.rocks import RocksStores
from services.process_api.state.store import Changes, Mark, Store
from shared.bus.memory import MemoryBus
from shared.bus.protocol import TopicOptions, TopicPartition, Transaction, Writer
from tests.unit.services.process_api.state.clocks import ManualClock

PLACE = TopicPartition("state", 1)
STEPS = {"orders": {"0": "orders/dedupe/a"}, "prices": {"0": "prices/latest/b", "2": "prices/latest/c"}}


async def new_bus() -> MemoryBus:
    bus = MemoryBus()
    await bus.ensure_topics([TopicOptions(name="state", partitions=2, compact=True, retention_hours=None)])
    return bus


async def opened(bus: MemoryBus, store: Store | None = None, clock: ManualClock | None = None) -> PartitionState:
    state = PartitionState(bus, PLACE, MemoryStore() if store is None else store, clock or ManualClock())
    await state.restore(0)
    return state


async def commit(bus: MemoryBus, state: PartitionState, writer: Writer | None = None) -> None:
    transaction = Transaction(placed={PLACE: state.seal(0)})
    if writer is not None:
        await writer.commit(transaction)
    else:
        async with bus.writer("w") as own:
            await own.commit(transaction)
    await state.settle()


class Orders:
    """The state of the first step of the pipeline orders."""

    def __init__(self, state: PartitionState) -> None:
        self.running = state.activate(STEPS)
        self.step = self.running.step("orders", "0")

    def keep(self) -> None:
        self.running.keep("orders")

    def undo(self) -> None:
        self.running.undo("orders")


async def test_what_is_committed_is_restored_and_nothing_else() -> None:
    bus = await new_bus()
    state = await opened(bus)
    orders = Orders(state)
    step = orders.step
    step.put(b"a", b"1")
    step.put(b"b", b"1")
    step.set_timer(b"e", 9, b"a")
    orders.keep()
    await commit(bus, state)
    step.put(b"a", b"2")
    step.delete(b"b")
    orders.keep()
    await commit(bus, state)
    step.put(b"a", b"rejected")
    orders.undo()
    step.put(b"a", b"in flight")
    orders.keep()
    state.seal(0)
    again = Orders(await opened(bus)).step
    assert (again.get(b"a"), again.get(b"b"), again.next_timer(b"e")) == (b"2", None, 9)


async def test_a_store_goes_on_from_its_mark() -> None:
    bus, store = await new_bus(), MemoryStore()
    state = await opened(bus, store)
    orders = Orders(state)
    step = orders.step
    for number in range(10):
        step.put(b"%d" % number, b"")
        orders.keep()
        await commit(bus, state)
    await state.confirm()
    step.put(b"after", b"")
    orders.keep()
    await commit(bus, state)
    again = await opened(bus, store)
    assert again.restored == 2  # and the definitions
    assert Orders(again).step.get(b"after") == b""


@pytest.mark.parametrize("mark", [Mark("another topic", 0, 10**12), Mark("", 0, 10**12 - 13 * 3_600_000)])
async def test_a_store_that_cannot_be_continued_is_cleared(mark: Mark) -> None:
    bus, store = await new_bus(), MemoryStore()
    clock = ManualClock(10**9)
    state = await opened(bus, clock=clock)
    orders = Orders(state)
    step = orders.step
    step.put(b"a", b"1")
    orders.keep()
    await commit(bus, state)
    store.apply({b"\0\0\0\1vdeleted long ago": b"1"}, mark._replace(epoch=mark.epoch or await bus.epoch("state")))
    again = await opened(bus, store, clock)
    assert Orders(again).step.get(b"a") == b"1"
    assert Orders(again).step.get(b"deleted long ago") is None


async def test_a_store_that_is_ahead_of_the_topic_is_cleared() -> None:
    bus, store = await new_bus(), MemoryStore()
    clock = ManualClock(10**9)
    store.apply({b"\0\0\0\1vlost": b"1"}, Mark(await bus.epoch("state"), 1000, 10**12))
    assert Orders(await opened(bus, store, clock)).step.get(b"lost") is None


async def test_the_state_of_other_definitions_is_deleted_step_by_step() -> None:
    bus = await new_bus()
    state = await opened(bus)
    orders = Orders(state)
    step = orders.step
    for number in range(1200):
        step.put(b"%d" % number, b"")
        step.set_timer(b"e", number, b"")
    orders.keep()
    await commit(bus, state)
    state.activate({"prices": STEPS["prices"]})
    sizes = []
    for _ in range(8):
        before = len(bus.records("state", 1))
        await commit(bus, state)
        sizes.append(len(bus.records("state", 1)) - before)
    assert sizes[0] <= 501
    assert sum(sizes) == 2400 + 8
    assert sizes[-1] == 1
    latest = {record.key: record.value for record in bus.records("state", 1)}
    assert {key for key, value in latest.items() if value is not None} == {DEFINITIONS}
    assert Orders(await opened(bus)).step.get(b"5") is None


class Passed(MemoryStore):
    """Counts the keys that a scan passes on disk, where deleted ones stay for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.known: list[bytes] = []
        """All keys that there ever were, in order."""
        self.passed = 0

    def apply(self, changes: Changes, mark: Mark | None = None) -> None:
        self.known = sorted({*self.known, *changes})
        super().apply(changes, mark)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key, value in super().scan(start, stop):
            self._pass(start, key)
            yield key, value
            start = key
        self._pass(start, stop)

    def _pass(self, start: bytes, stop: bytes) -> None:
        self.passed += bisect_right(self.known, stop) - bisect_left(self.known, start)


async def test_state_that_is_deleted_is_passed_once() -> None:
    # On disk, each transaction would pass all keys again that those before it have deleted.
    bus, store = await new_bus(), Passed()
    state = await opened(bus, store)
    orders = Orders(state)
    for number in range(4000):
        orders.step.put(b"%d" % number, b"")
        orders.step.set_timer(b"e", number, b"")
        orders.step.set_timer(b"w", number, b"")
    orders.keep()
    await commit(bus, state)
    state.activate({})
    store.passed = 0
    while store.sizes[prefix_of(1)].total:
        await commit(bus, state)
    assert store.passed < 3 * 12_000


async def test_a_definition_that_comes_back_begins_anew_while_its_old_state_is_deleted() -> None:
    bus = await new_bus()
    state = await opened(bus)
    orders = Orders(state)
    orders.step.put(b"a", b"1")
    orders.keep()
    await commit(bus, state)
    state.activate({})
    state.activate(STEPS)
    assert Orders(state).step.get(b"a") is None
    await commit(bus, state)
    again = await opened(bus)
    assert Orders(again).step.get(b"a") is None


async def test_long_keys_fit_the_bus() -> None:
    bus = await new_bus()
    state = await opened(bus)
    orders = Orders(state)
    step = orders.step
    step.put(b"x" * 10_000, b"1")
    step.set_timer(b"e", 1, b"y" * 10_000)
    orders.keep()
    assert max(len(record.key) for record in state.seal(0)) <= LONGEST_KEY + 13


async def test_the_time_does_not_step_back() -> None:
    clock = ManualClock(1000)
    state = await opened(await new_bus(), clock=clock)
    before = state.now()
    clock.wall -= 500
    clock.advance(1)
    assert state.now() == before + 1000


async def test_runs_that_end_anywhere_leave_the_committed_state(tmp_path: Path, seed: int) -> None:
    rng, bus, model = random.Random(seed), await new_bus(), dict[bytes, bytes]()
    async with RocksStores.opened(tmp_path) as disk:
        for _ in range(40):
            store: Store = disk.store(1) if rng.random() < 0.5 else MemoryStore()
            state = await opened(bus, store)
            orders = Orders(state)
            step = orders.step
            found = {key: step.get(key) for key in [b"%d" % number for number in range(500)]}
            assert {key: value for key, value in found.items() if value is not None} == model
            assert step.items(b"", b"~") == sorted(model.items())
            async with bus.writer("w") as writer:
                for _ in range(rng.randrange(6)):
                    filled = dict(model)
                    for _ in range(rng.choice([1, 5, 400])):
                        key = b"%d" % rng.randrange(500)
                        if rng.random() < 0.3:
                            step.delete(key)
                            step.delete_item(key)
                            filled.pop(key, None)
                        else:
                            filled[key] = b"%d" % rng.randrange(1000)
                            step.put(key, filled[key])
                            step.put_item(key, filled[key])
                    orders.keep()
                    records = state.seal(0)
                    if rng.random() < 0.2:
                        break  # it ends before the commit
                    await writer.commit(Transaction(placed={PLACE: records}))
                    model = filled
                    if rng.random() < 0.2:
                        await state.confirm()
                    if rng.random() < 0.2:
                        break  # it ends after the commit
                    await state.settle()
