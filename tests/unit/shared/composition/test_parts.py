import random

from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.composition.parts import opened_parts
from shared.composition.settings import SharedSettings
from shared.http.server import Health
from shared.runtime.clock import SystemClock


class Named(SharedSettings):
    @property
    def node(self) -> str:
        return "from the settings"


async def test_parts_that_are_given_are_used() -> None:
    alerts, health, clock, rng = RecordingAlerts(), Health("test"), SystemClock(), random.Random(1)
    given = opened_parts("test", Named(), node="given", alerts=alerts, health=health, clock=clock, rng=rng)
    async with given as parts:
        assert (parts.node, parts.alerts, parts.health, parts.clock, parts.rng) == (
            "given",
            alerts,
            health,
            clock,
            rng,
        )


async def test_parts_that_are_absent_are_made_from_the_settings() -> None:
    async with opened_parts("test", Named(), bus=MemoryBus()) as parts:
        assert parts.node == "from the settings"
        assert parts.health.readiness.ready


async def test_a_replica_without_a_name_gets_one_of_its_own() -> None:
    async with opened_parts("test", SharedSettings()) as one, opened_parts("test", SharedSettings()) as other:
        assert one.node != other.node


async def test_a_problem_is_reported_under_its_part() -> None:
    async with opened_parts("test", SharedSettings()) as parts:
        parts.health.readiness.require("registry")
        parts.report("registry")("refused")
        assert parts.health.readiness.missing() == {"registry": "refused"}
