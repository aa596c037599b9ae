import math
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from prometheus_client import CollectorRegistry, Counter, generate_latest

from shared.http.health import Readiness
from shared.http.metrics import CertificateMetrics, ProcessMetrics, ReadinessCollector, closed


def test_a_process_is_measured_as_of_the_last_look() -> None:
    registry = CollectorRegistry(auto_describe=True)
    process = ProcessMetrics("system_api")
    registry.register(process)
    assert generate_latest(registry) == b""
    process.refresh()
    text = generate_latest(registry).decode()
    for name in (
        "process_cpu_seconds_total",
        "process_open_fds",
        "python_gc_collections_total",
        'trelay_build_info{python="',
    ):
        assert name in text


def test_a_closed_set_of_labels_reads_zero_and_never_grows() -> None:
    registry = CollectorRegistry()
    counter = Counter("trelay_refused", "Refusals.", ["reason"], registry=registry)
    series = closed(counter, ["token", "address"])
    series["token"].inc()
    assert registry.get_sample_value("trelay_refused_total", {"reason": "token"}) == 1
    assert registry.get_sample_value("trelay_refused_total", {"reason": "address"}) == 0
    with pytest.raises(KeyError):
        series["anything"].inc()


def test_readiness_is_a_metric() -> None:
    readiness = Readiness()
    readiness.require("bus")
    readiness.note("mail")
    registry = CollectorRegistry(auto_describe=True)
    registry.register(ReadinessCollector(readiness))
    assert registry.get_sample_value("trelay_ready") == 0
    assert registry.get_sample_value("trelay_part_connected", {"part": "bus"}) == 0
    assert registry.get_sample_value("trelay_part_connected", {"part": "mail"}) == 1
    readiness.report("bus", None)
    assert registry.get_sample_value("trelay_ready") == 1


def test_the_expiry_of_a_certificate_follows_its_renewal_and_is_nan_while_unknown() -> None:
    registry = CollectorRegistry()
    found: list[float | None] = [1000.0]
    CertificateMetrics(registry).show(Path("tls.crt"), lambda: found[-1])

    def value() -> float | None:
        return registry.get_sample_value("trelay_certificate_expiry_timestamp_seconds", {"certificate": "tls.crt"})

    assert value() == 1000
    found.append(2000)
    assert value() == 2000
    found.append(None)
    assert math.isnan(value() or 0)


def test_the_certificate_of_a_file_is_that_of_the_last_refresh(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    metrics = CertificateMetrics(registry)
    path = tmp_path / "user.crt"
    metrics.show_file(path)

    def exported() -> float | None:
        metrics.refresh()
        return registry.get_sample_value("trelay_certificate_expiry_timestamp_seconds", {"certificate": str(path)})

    assert str(exported()) == "nan"
    found = []
    for year in (2031, 2032):
        issued = trustme.CA().issue_cert("localhost", not_after=datetime(year, 1, 1, tzinfo=UTC))
        issued.cert_chain_pems[0].write_to_path(str(path))
        found.append(exported())
    assert found == [datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (2031, 2032)]
