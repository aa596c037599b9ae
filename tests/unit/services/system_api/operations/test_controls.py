"""What a replica knows of what operators ask."""

import asyncio
from collections.abc import Mapping

import pytest

from services.system_api.operations.controls import Controls, Demand
from services.system_api.operations.memory import MemorySourceStore
from services.system_api.operations.requests import Command, Control, Outcome
from shared.errors import Unavailable
from shared.runtime.tasks import Tasks


class FailingStore(MemorySourceStore):
    """A store that does not answer while `down`."""

    down = False

    async def controls(self) -> Mapping[str, Control]:
        if self.down:
            raise Unavailable("no answer")
        return await super().controls()

    async def settle(self, source: str, outcome: Outcome) -> None:
        if self.down:
            raise Unavailable("no answer")
        await super().settle(source, outcome)


async def test_a_change_in_the_store_reaches_those_who_wait() -> None:
    store = FailingStore()
    controls = Controls(store, ["orders", "rates"])
    orders = controls.of("orders")
    async with asyncio.timeout(60), Tasks() as tasks:
        tasks.keep("controls", controls.follow())
        await orders.known()
        seen = orders.current
        await store.pause("rates", "a", "")
        await store.pause("orders", "oncall", "maintenance")
        await orders.changed_from(seen)
    assert orders.current.paused
    assert "rates" in controls
    assert "other" not in controls


async def test_what_was_asked_last_holds_while_the_store_does_not_answer() -> None:
    store = FailingStore()
    controls = Controls(store, ["orders"])
    await store.pause("orders", "oncall", "")
    await controls.refresh()
    store.down = True
    with pytest.raises(Unavailable):
        await controls.refresh()
    assert controls.of("orders").current.paused


async def test_an_outcome_is_known_here_even_if_the_store_does_not_answer() -> None:
    store = FailingStore()
    controls = Controls(store, ["orders"])
    request = (await store.request("orders", Command.REWIND, '"end"', "a")).request
    assert request is not None
    await controls.refresh()
    orders = controls.of("orders")
    assert orders.demand == Demand(paused=False, generation=request.generation)
    store.down = True
    with pytest.raises(Unavailable):
        await orders.settle(Outcome(request.generation, None, {}, 0.0))
    assert orders.demand == Demand(paused=False, generation=0)
    store.down = False
    await controls.refresh()
    assert (await store.controls())["orders"].pending is None, "noted later"


def test_a_run_goes_on_while_only_its_own_request_is_carried_out() -> None:
    began = Demand(paused=False, generation=3)
    assert began.met_by(Demand(paused=False, generation=3))
    assert began.met_by(Demand(paused=False, generation=0))
    assert not began.met_by(Demand(paused=False, generation=4))
    assert not began.met_by(Demand(paused=True, generation=3))
