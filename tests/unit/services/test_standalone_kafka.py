"""The settings of three processes are those of one, with Kafka as the bus."""

from pathlib import Path

import yaml

from services.showcase import EXAMPLES
from services.standalone_kafka import _write_settings


def test_only_bus_database_and_addresses_differ(tmp_path: Path) -> None:
    original = tmp_path / "trelay.yaml"
    original.write_text((EXAMPLES / "trelay.yaml").read_text())
    ports = {"experience": 1, "process": 2, "system": 3}
    before = yaml.safe_load(original.read_text())
    after = yaml.safe_load(_write_settings(original, "127.0.0.1:9092", ports).read_text())
    assert after["bus"] == {"kind": "kafka", "servers": "127.0.0.1:9092"}
    assert after["database"] == {"url": "${TRELAY_DATABASE_URL}"}
    assert {layer: after[layer]["listen"]["port"] for layer in ports} == ports
    assert after["system"]["sources"] == before["system"]["sources"]
    assert after["process"]["pipelines"] == before["process"]["pipelines"]
