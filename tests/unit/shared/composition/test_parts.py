import logging
import random

from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.composition.parts import opened_parts
from shared.composition.settings import SharedSettings
from shared.http.server import Health
from shared.runtime.clock import SystemClock
from tests.unit.shared.telemetry.collector import Collector


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


async def test_all_signals_of_a_service_arrive_under_its_name() -> None:
    async with Collector.running() as collector:
        telemetry = {"endpoint": collector.url, "metrics": True, "logs": True, "flush_timeout": 20}
        settings = SharedSettings.model_validate({"bus": {"kind": "postgres"}, "telemetry": telemetry})
        async with opened_parts("process_api", settings, node="process-1", bus=MemoryBus()) as parts:
            logging.getLogger("services.process_api").warning("records dead-lettered")
            with parts.tracing.poll("orders") as poll:
                poll.found(1, 0)
    resources = [
        *(found.resource for request in collector.traces for found in request.resource_spans),
        *(found.resource for request in collector.metrics for found in request.resource_metrics),
        *(found.resource for request in collector.logs for found in request.resource_logs),
    ]
    assert collector.span_names == ["poll orders"]
    assert "trelay_ready" in {metric.name for metric in collector.latest_metrics}
    assert "records dead-lettered" in {record.body.string_value for record in collector.log_records}
    names = [{pair.key: pair.value.string_value for pair in found.attributes} for found in resources]
    assert {(name["service.name"], name["service.instance.id"]) for name in names} == {("process_api", "process-1")}
    (scope,) = collector.traces[0].resource_spans[0].scope_spans
    attributes = {pair.key: pair.value.string_value for pair in scope.spans[0].attributes}
    assert attributes["messaging.system"] == "postgresql"
