"""What replicas answer, for tests of the status."""

from typing import Any

NOW = 1_000_000.0

SYSTEM = f"""\
trelay_build_info{{version="0.1.0",python="3.11",service="system_api"}} 1
process_start_time_seconds {NOW - 60}
process_resident_memory_bytes 104857600
trelay_system_source_state{{source="orders",state="running"}} 1
trelay_system_source_state{{source="orders",state="standby"}} 0
trelay_system_source_state{{source="stock",state="running"}} 0
trelay_system_source_state{{source="stock",state="standby"}} 1
trelay_system_caught_up_timestamp_seconds{{source="orders"}} {NOW - 1.5}
trelay_system_caught_up_timestamp_seconds{{source="stock"}} 0
trelay_system_events_published_total{{source="orders"}} 40
trelay_system_rejects_total{{source="orders"}} 2
trelay_source_unaccounted_rows{{source="orders"}} 0
trelay_source_slot_lag_bytes{{source="orders"}} 0
"""
PROCESS = """\
trelay_build_info{version="0.1.0",python="3.11",service="process_api"} 1
trelay_process_events_taken_total{pipeline="orders"} 40
trelay_process_events_published_total{pipeline="orders"} 39
trelay_process_rejects_total{pipeline="orders"} 1
trelay_process_unclaimed_total 3
trelay_pipeline_blocked_seconds_total{pipeline="orders",step="0.enrich"} 90
trelay_process_lag_records{partition="0"} 5
trelay_process_lag_records{partition="1"} 6
"""
EXPERIENCE = """\
trelay_build_info{version="0.1.0",python="3.11",service="experience_api"} 1
trelay_experience_connections 7
trelay_experience_catching_up 1
trelay_mails_waiting 0
"""
READY: dict[str, Any] = {"ready": True, "draining": False, "missing": {}, "notes": {}}


def source(**changed: Any) -> dict[str, Any]:
    """A source as `GET /sources` shows it."""
    return {
        "state": "running", "owner": "system-1", "caught_up_seconds_ago": 0.5, "published_per_second": 2.0,
        "error": None, "problems": [], "counts": {"published": 40, "rejected": 2, "unaccounted": 0},
    } | changed  # fmt: skip
