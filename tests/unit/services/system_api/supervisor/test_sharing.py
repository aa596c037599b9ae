"""How often the owner of a source publishes its status."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from services.system_api.operations.memory import MemorySourceStore
from services.system_api.operations.store import SharedStatus
from services.system_api.operations.windows import HOUR, HOURS_LIMIT
from services.system_api.supervisor.metrics import SystemMetrics
from services.system_api.supervisor.reporting import Reporter
from services.system_api.supervisor.sharing import StatusPublisher
from shared.alerts import RecordingAlerts
from shared.runtime.clock import SystemClock


class SteppedClock(SystemClock):
    at = 100.0

    def monotonic(self) -> float:
        return self.at


class CountingStore(MemorySourceStore):
    def __init__(self) -> None:
        super().__init__()
        self.published: list[list[tuple[str, object]]] = []

    async def publish(self, statuses: Sequence[SharedStatus]) -> None:
        self.published.append([(shared.source, shared.status["state"]) for shared in statuses])
        await super().publish(statuses)


async def test_a_change_of_state_is_published_at_once_and_all_else_every_few_seconds() -> None:
    clock, store = SteppedClock(), CountingStore()
    names = ("orders", "rates", "standby")
    metrics = SystemMetrics(CollectorRegistry(), names)
    orders, rates, standby = (Reporter(name, RecordingAlerts(), metrics, clock) for name in names)
    publisher = StatusPublisher([orders, rates, standby], store, "node-1", clock)
    await publisher.publish()
    assert store.published == [], "this replica owns nothing"
    for reporter in (orders, rates):
        reporter.owned(3)
        reporter.progressed(caught_up=True)
    for _ in range(20):
        clock.at += 0.2
        orders.progressed(caught_up=True)
        await publisher.publish()
    assert store.published == [[("orders", "running"), ("rates", "running")]]
    orders.down("refused")
    await publisher.publish()
    assert store.published[1:] == [[("orders", "down")]]
    clock.at += 5.0
    await publisher.publish()
    assert store.published[2:] == [[("orders", "down"), ("rates", "running")]]
    shared = (await store.statuses())["orders"]
    assert (shared.node, shared.epoch, shared.status["error"]) == ("node-1", 3, "refused")


async def test_a_new_owner_publishes_at_once() -> None:
    clock, store = SteppedClock(), CountingStore()
    orders = Reporter("orders", RecordingAlerts(), SystemMetrics(CollectorRegistry(), ["orders"]), clock)
    publisher = StatusPublisher([orders], store, "node-1", clock)
    for epoch in (3, 4):
        orders.owned(epoch)
        await publisher.publish()
        orders.disowned()
        await publisher.publish()
    assert len(store.published) == 2


async def test_the_hour_before_the_first_one_that_is_shown_is_kept() -> None:
    """Without it, that hour would be shown with all events since the source exists."""

    class ForgettingStore(MemorySourceStore):
        async def forget_windows(self, before: float) -> None:
            forgotten.append(before)

    forgotten: list[float] = []
    clock = SteppedClock()
    orders = Reporter("orders", RecordingAlerts(), SystemMetrics(CollectorRegistry(), ["orders"]), clock)
    orders.owned(1)
    await StatusPublisher([orders], ForgettingStore(), "node-1", clock).publish()
    oldest_shown = clock.time() - HOURS_LIMIT * HOUR
    assert [before < oldest_shown - HOUR for before in forgotten] == [True]
