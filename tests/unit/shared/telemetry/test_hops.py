"""The histogram of hops, and the traces in it."""

from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest

from shared.telemetry.hops import _SOURCES_LIMIT, Hop, HopSeconds, hop_seconds

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Event(NamedTuple):
    value: bytes | None


def event(flags: str = "01") -> Event:
    return Event(b'{"id":"1","traceparent":"00-%b-b7ad6b7169203331-%b"}' % (TRACE.encode(), flags.encode()))


def shown(registry: CollectorRegistry) -> str:
    return str(generate_latest(registry), "utf-8")  # type: ignore[no-untyped-call]


def test_the_hops_of_a_source_are_counted() -> None:
    registry = CollectorRegistry()
    hops = hop_seconds(registry)
    hops.observe(Hop.PROCESS, "orders", 0.3, event())
    hops.observe(Hop.PROCESS, "orders", -0.3, event())
    labels = {"hop": "process", "source": "orders"}
    assert registry.get_sample_value("trelay_hop_seconds_count", labels) == 2
    assert registry.get_sample_value("trelay_hop_seconds_sum", labels) == 0.3
    assert registry.get_sample_value("trelay_hop_seconds_bucket", labels | {"le": "0.002"}) == 1
    assert TRACE not in shown(registry)


def test_a_sampled_trace_is_the_exemplar_of_its_bucket() -> None:
    registry = CollectorRegistry()
    hops = HopSeconds(registry)
    hops.exemplars = True
    hops.observe(Hop.DELIVER, "orders", 0.3, event("00"))
    hops.observe(Hop.DELIVER, "orders", 0.3, Event(None))
    assert "trace_id" not in shown(registry)
    hops.observe(Hop.DELIVER, "orders", 0.3, event())
    [line] = [line for line in shown(registry).splitlines() if "trace_id" in line]
    assert line.startswith('trelay_hop_seconds_bucket{hop="deliver",le="0.5",source="orders"}')
    assert f'# {{trace_id="{TRACE}"}} 0.3' in line


def test_the_services_of_a_process_share_it() -> None:
    registry = CollectorRegistry()
    assert hop_seconds(registry) is hop_seconds(registry)
    assert hop_seconds(CollectorRegistry()) is not hop_seconds(registry)


def test_sources_beyond_the_limit_share_a_series() -> None:
    registry = CollectorRegistry()
    hops = HopSeconds(registry)
    for number in range(_SOURCES_LIMIT + 5):
        hops.observe(Hop.COMMIT, f"s{number}", 0.1, event())
    assert registry.get_sample_value("trelay_hop_seconds_count", {"hop": "commit", "source": "others"}) == 5
