"""Any replica shows all sources."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from services.system_api.operations.controls import Controls
from services.system_api.operations.memory import MemorySourceStore
from services.system_api.operations.requests import Command, Outcome
from services.system_api.operations.store import SharedStatus
from services.system_api.overview import Overview
from services.system_api.supervisor.metrics import SystemMetrics
from services.system_api.supervisor.reporting import Reporter
from services.system_api.supervisor.sharing import StatusPublisher
from shared.alerts import RecordingAlerts
from shared.errors import Unavailable
from shared.lease import Granted, MemoryLeaseStore
from shared.runtime.clock import SYSTEM_CLOCK

NAMES = ("orders", "rates")


class FailingStore(MemorySourceStore):
    down = False

    async def statuses(self) -> Mapping[str, SharedStatus]:
        if self.down:
            raise Unavailable("the database does not answer")
        return await super().statuses()


class Replica:
    """What one replica reports and shows."""

    def __init__(self, node: str, leases: MemoryLeaseStore, store: MemorySourceStore) -> None:
        self.node = node
        self.leases = leases
        self.store = store
        metrics = SystemMetrics(CollectorRegistry(), NAMES)
        self.reporters = {name: Reporter(name, RecordingAlerts(), metrics, SYSTEM_CLOCK) for name in NAMES}
        self.controls = Controls(store, NAMES)
        self.overview = Overview(self.reporters, self.controls, store, leases, node, SYSTEM_CLOCK)
        self.publisher = StatusPublisher(self.reporters.values(), store, node, SYSTEM_CLOCK)

    async def own(self, name: str) -> int:
        granted = await self.leases.acquire(f"source/{name}", self.node, 60)
        assert isinstance(granted, Granted)
        self.reporters[name].owned(granted.epoch)
        return granted.epoch

    async def release(self, name: str) -> None:
        epoch = self.reporters[name].status.epoch
        assert epoch is not None
        await self.leases.release(f"source/{name}", self.node, epoch)
        self.reporters[name].standby()
        self.reporters[name].disowned()


def replicas(store: MemorySourceStore) -> tuple[Replica, Replica]:
    leases = MemoryLeaseStore()
    return Replica("one", leases, store), Replica("two", leases, store)


async def test_every_replica_shows_who_owns_what() -> None:
    one, two = replicas(MemorySourceStore())
    epoch = await one.own("orders")
    one.reporters["orders"].progressed(caught_up=True)
    await two.own("rates")
    two.reporters["rates"].down("connection refused")
    for replica in (one, two):
        await replica.publisher.publish()
    for replica in (one, two):
        found = await replica.overview.all()
        orders, rates = found["orders"], found["rates"]
        assert (orders["owner"], orders["epoch"], orders["state"]) == ("one", epoch, "running")
        assert 0 <= orders["caught_up_seconds_ago"] < 60
        assert (rates["owner"], rates["state"], rates["error"]) == ("two", "down", "connection refused")
        assert (orders["stale"], rates["stale"]) == (False, False)


async def test_a_source_without_an_owner_is_on_standby_where_it_was_left() -> None:
    one, two = replicas(MemorySourceStore())
    await one.own("orders")
    one.reporters["orders"].status.position = {"": "7"}
    one.reporters["orders"].progressed(caught_up=True)
    await one.publisher.publish()
    await one.release("orders")
    found = (await two.overview.all())["orders"]
    assert (found["owner"], found["state"], found["position"]) == (None, "standby", {"": "7"})


async def test_a_new_owner_that_has_published_nothing_yet_is_starting() -> None:
    one, two = replicas(MemorySourceStore())
    await one.own("orders")
    one.reporters["orders"].down("refused")
    await one.publisher.publish()
    await one.release("orders")
    await two.own("orders")
    found = (await one.overview.all())["orders"]
    assert (found["owner"], found["state"]) == ("two", "starting")


async def test_without_the_database_the_others_are_shown_as_they_were() -> None:
    store = FailingStore()
    one, two = replicas(store)
    await one.own("orders")
    one.reporters["orders"].progressed(caught_up=True)
    await one.publisher.publish()
    await two.overview.all()
    store.down = True
    found = await two.overview.all()
    assert (found["orders"]["owner"], found["orders"]["state"], found["orders"]["stale"]) == ("one", "running", True)


async def test_what_operators_ask_is_shown_with_its_outcome() -> None:
    store = MemorySourceStore()
    one, _ = replicas(store)
    await store.pause("orders", "oncall", "maintenance")
    rewind = (await store.request("orders", Command.REWIND, '"end"', "oncall")).request
    assert rewind is not None
    await one.controls.refresh()
    orders = (await one.overview.all())["orders"]
    assert (orders["paused"]["by"], orders["paused"]["reason"]) == ("oncall", "maintenance")
    assert (orders["request"]["state"], orders["request"]["to"]) == ("pending", '"end"')
    await store.settle("orders", Outcome(rewind.generation, "no such place", {}, 0.0))
    await one.controls.refresh()
    assert (await one.overview.all())["orders"]["request"]["state"] == "failed"
    snapshot = (await store.request("orders", Command.SNAPSHOT, None, "oncall")).request
    assert snapshot is not None
    await store.settle("orders", Outcome(snapshot.generation, None, {"to": {}}, 0.0))
    await store.resume("orders", "oncall")
    await one.controls.refresh()
    orders = (await one.overview.all())["orders"]
    assert (orders["paused"], orders["request"]["state"], orders["request"]["result"]) == (None, "done", {"to": {}})
