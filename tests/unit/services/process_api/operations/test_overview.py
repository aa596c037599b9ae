"""All pipelines, composed of what the replicas say and of what the bus has."""

from services.process_api.operations.activity import Activity, LastError
from services.process_api.operations.controls import Controls
from services.process_api.operations.overview import Overview
from services.process_api.operations.requests import Control, control_key, encode
from services.process_api.operations.statuses import Held, PartitionStatus, ReplicaStatus, StateSize, Statuses
from shared.bus.topics import TopicsOptions
from shared.runtime.clock import SYSTEM_CLOCK
from tests.unit.services.process_api.making import pipeline, selection

TOPICS = TopicsOptions()


class FixedStatuses(Statuses):
    def __init__(self, *found: ReplicaStatus) -> None:
        self._found = list(found)

    def all(self) -> list[ReplicaStatus]:
        return self._found


def replica(node: str, activity: Activity, partitions: dict[int, PartitionStatus]) -> ReplicaStatus:
    return ReplicaStatus(node, 5.0, {"orders": activity}, partitions)


async def test_replicas_are_added_up_and_the_newest_owner_of_a_partition_counts() -> None:
    held = Held("orders", "steps.0.enrich", "no answer", 3.0)
    statuses = FixedStatuses(
        replica("a", Activity("v1", 3, 2, 1, 0.5, 0.25, LastError("old", "t/0/1", 1.0)), {
            0: PartitionStatus(4, 1.0, state=[StateSize("orders", "steps.0", 2, 30)]), 1: PartitionStatus(4, 1.0, held),
        }),
        replica("b", Activity("v2", 1, 1, 0, 0.25, 0.0, LastError("new", "t/0/2", 2.0)), {
            1: PartitionStatus(4, 2.0, state=[StateSize("orders", "steps.0", 1, 5), StateSize("totals", "s", 9, 9)]),
        }),
        ReplicaStatus("c", 5.0, {}, {2: PartitionStatus(0, 1.0, held)}),
    )  # fmt: skip
    controls = Controls(TOPICS.pipelines, SYSTEM_CLOCK)
    chosen = selection(pipeline(name="orders"), pipeline(name="totals"))
    overview = Overview(lambda: chosen, controls, statuses, TOPICS, "trelay.process", SYSTEM_CLOCK)
    found = await overview.all(None)
    orders = found["orders"]
    assert orders["events"] == {"taken": 4, "published": 3, "dead_letters": 1}
    assert orders["rates"] == {"published_per_second": 0.75, "dead_letters_per_second": 0.25}
    assert orders["last_error"] == {"error": "new", "origin": "t/0/2", "at": "1970-01-01T00:00:02.000Z"}
    assert orders["partitions"] == {"0": {"replica": "a"}, "1": {"replica": "b"}, "2": {"replica": "c"}}
    assert orders["lag"] is None
    assert orders["state_size"] == {"steps.0": {"keys": 3, "bytes": 35}}
    assert orders["held"] == [
        {"partition": 2, "step": "steps.0.enrich", "error": "no answer", "since": "1970-01-01T00:00:03.000Z"}
    ]
    assert [each["version"] for each in orders["replicas"].values()] == ["v1", "v2", None]
    assert (orders["state"], found["totals"]["state"]) == ("held", "running")
    controls.asked.take(control_key("orders"), encode(Control(paused=True, reason="r", by="alice", at=4.0)))
    orders = (await overview.all(None))["orders"]
    assert (orders["state"], orders["paused"]) == (
        "paused", {"by": "alice", "reason": "r", "at": "1970-01-01T00:00:04.000Z"},
    )  # fmt: skip
