"""How far a store says that it has the changelog, and what is still being stored when a run ends."""

import asyncio
import threading

import pytest

from services.process_api.state.memory import MemoryStore
from services.process_api.state.partition_state import PartitionState
from services.process_api.state.store import Changes, Mark
from shared.bus.memory import MemoryBus
from shared.bus.protocol import Transaction
from tests.unit.services.process_api.state.test_partition_state import PLACE, Orders, commit, new_bus, opened


async def test_a_mark_waits_for_what_is_in_flight_and_for_the_transaction_behind_it() -> None:
    """The end is asked for while a transaction is visible and not stored yet."""
    bus, store = await new_bus(), MemoryStore()
    state = await opened(bus, store)
    await _commit_unsettled(bus, state)
    await state.confirm()
    assert store.mark is not None
    assert store.mark.offset == 0
    await state.settle()
    assert store.mark.offset == 0
    await commit(bus, state)
    assert store.mark.offset == 2


async def test_what_was_visible_and_not_stored_is_restored_after_a_mark() -> None:
    bus, store = await new_bus(), MemoryStore()
    state = await opened(bus, store)
    await _commit_unsettled(bus, state)
    await state.confirm()
    assert Orders(await opened(bus, store)).step.get(b"a") == b"1"


async def _commit_unsettled(bus: MemoryBus, state: PartitionState) -> None:
    orders = Orders(state)
    orders.step.put(b"a", b"1")
    orders.keep()
    async with bus.writer("w") as writer:
        await writer.commit(Transaction(placed={PLACE: state.seal(0)}))


@pytest.mark.parametrize("in_flight", [False, True])
async def test_a_run_that_was_paused_does_not_take_the_changes_of_the_next_owner_for_its_own(in_flight: bool) -> None:
    """The next owner writes to the changelog; then the run goes on, before it finds out that it is fenced."""
    bus, store = await new_bus(), MemoryStore()
    state = await opened(bus, store)
    orders = Orders(state)
    orders.step.put(b"a", b"1")
    orders.keep()
    if in_flight:
        async with bus.writer("w") as writer:
            await writer.commit(Transaction(placed={PLACE: state.seal(0)}))
    else:
        await commit(bus, state)
    owner = await opened(bus)
    others = Orders(owner)
    others.step.put(b"a", b"2")
    others.step.put(b"b", b"1")
    others.keep()
    await commit(bus, owner)
    await state.confirm()
    if in_flight:
        await state.settle()
    again = Orders(await opened(bus, store))
    assert (again.step.get(b"a"), again.step.get(b"b")) == (b"2", b"1")


class SlowStore(MemoryStore):
    """A store that takes changes in a thread, and only once it is let."""

    threaded = True

    def __init__(self) -> None:
        super().__init__()
        self.began, self.let = threading.Event(), threading.Event()
        self.applied = 0

    def apply(self, changes: Changes, mark: Mark | None = None) -> None:
        if len(changes) > 1:
            self.began.set()
            assert self.let.wait(20)
        super().apply(changes, mark)
        self.applied += len(changes)


async def test_a_run_that_is_cancelled_ends_once_the_store_has_what_is_being_stored() -> None:
    bus, store = await new_bus(), SlowStore()
    state = await opened(bus, store)
    orders = Orders(state)
    for number in range(300):
        orders.step.put(b"%d" % number, b"1")
    orders.keep()
    async with bus.writer("w") as writer:
        await writer.commit(Transaction(placed={PLACE: state.seal(0)}))
    settling = asyncio.ensure_future(state.settle())
    assert await asyncio.to_thread(store.began.wait, 20)
    settling.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not settling.done()
    store.let.set()
    with pytest.raises(asyncio.CancelledError):
        await settling
    assert store.applied > 300
