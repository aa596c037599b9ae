"""The metrics exist from the start."""

from prometheus_client import CollectorRegistry, generate_latest

from services.system_api.supervisor.metrics import SystemMetrics
from services.system_api.supervisor.status import State


def test_every_series_reads_0_from_the_start_and_a_source_is_in_one_state() -> None:
    registry = CollectorRegistry()
    metrics = SystemMetrics(registry, ["orders"])
    metrics.of("orders").enter(State.DOWN)
    lines = generate_latest(registry).decode().splitlines()
    for name in ("events_published_total", "rejects_total", "polls_total", "retries_total", "restarts_total"):
        assert f'trelay_system_{name}{{source="orders"}} 0.0' in lines
    for name in ("losses_total", "lost_bytes_total", "waiting"):
        assert f'trelay_source_{name}{{source="orders"}} 0.0' in lines
    states = [line for line in lines if line.startswith("trelay_system_source_state") and line.endswith(" 1.0")]
    assert states == ['trelay_system_source_state{source="orders",state="down"} 1.0']
