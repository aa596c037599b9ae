from typing import Any

from services.cli.status.exposition import Samples
from services.cli.status.overview import Answer, overview
from tests.unit.services.cli.status.deployment import EXPERIENCE, NOW, PROCESS, READY, SYSTEM, source


def answer(text: str, url: str = "http://a:1", **more: Any) -> Answer:
    return Answer(url, ready=READY, samples=Samples(text), **more)


def status(*answers: Answer) -> dict[str, Any]:
    return overview(answers, NOW)


def alerts(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(problem["alert"], problem["place"]) for problem in found["problems"]]


def test_what_replicas_answer_is_added_up() -> None:
    found = status(answer(SYSTEM), answer(PROCESS), answer(EXPERIENCE), answer(EXPERIENCE))
    assert found["healthy"]
    assert found["connections"] == 14
    assert found["lag_records"] == 11
    assert found["dead_letters"] == {"sources": {"orders": 2, "stock": 0}, "pipelines": {"orders": 1}, "unclaimed": 3}
    assert found["pipelines"]["orders"] == {
        "state": None, "version": None, "lag_records": None, "taken": 40, "published": 39, "rejected": 1,
        "held_seconds": 90.0, "held": [],
    }  # fmt: skip
    assert found["replicas"][0] | {"url": ""} == {
        "url": "", "service": "system_api", "version": "0.1.0", "error": None, "refused": None,
        "ready": True, "draining": False,
        "missing": {}, "notes": {}, "uptime_seconds": 60.0, "memory_bytes": 104_857_600, "connections": 0,
        "mails_waiting": 0, "certificates": {},
    }  # fmt: skip


def test_without_the_endpoint_of_operators_sources_are_as_metrics_show_them() -> None:
    other = SYSTEM.replace('orders",state="running"} 1', 'orders",state="running"} 0').replace(
        'orders",state="standby"} 0', 'orders",state="standby"} 1'
    )
    found = status(answer(other), answer(SYSTEM))["sources"]
    assert found["orders"]["state"] == "running"
    assert found["orders"]["lag_seconds"] == 1.5
    assert found["orders"]["published"] == 80
    assert found["stock"]["state"] == "standby"
    assert found["stock"]["lag_seconds"] is None


def test_a_source_in_no_state_is_unknown() -> None:
    text = 'trelay_system_source_state{source="orders",state="running"} 0\n'
    assert status(answer(text))["sources"]["orders"]["state"] == "unknown"


def test_operators_know_owner_and_reason() -> None:
    found = status(answer(SYSTEM, sources={"orders": source()}), answer(PROCESS, pipelines={"new": {"version": 3}}))
    assert found["sources"]["orders"]["owner"] == "system-1"
    assert found["sources"]["orders"]["lag_seconds"] == 0.5
    assert found["pipelines"].keys() == {"orders", "new"}
    assert found["pipelines"]["new"]["version"] == 3


def test_an_address_that_does_not_answer_is_a_problem() -> None:
    found = status(answer(SYSTEM), Answer("http://b", error="refused", guessed=True))
    assert alerts(found) == [("TrelayServiceMissing", "service http://b")]


def test_one_process_for_all_services_needs_no_other_default_address() -> None:
    whole = answer(EXPERIENCE.replace("experience_api", "standalone"), guessed=True)
    assert status(whole, Answer("http://b", error="refused", guessed=True))["healthy"]
    assert not status(whole, Answer("http://b", error="refused"))["healthy"]


def test_a_process_that_runs_all_services_is_counted_once() -> None:
    whole = "".join(text.partition("\n")[2] for text in (SYSTEM, PROCESS, EXPERIENCE))
    texts = [
        f'trelay_build_info{{version="0.1.0",python="3.11",service="standalone"}} 1\n{whole}'.replace(
            f"process_start_time_seconds {NOW - 60}", f"process_start_time_seconds {started}"
        )
        for started in (NOW - 60, NOW - 60, NOW - 60, NOW - 50)
    ]
    found = status(*(answer(text) for text in texts))
    assert found["connections"] == 2 * 7
    assert found["lag_records"] == 2 * 11
    assert found["sources"]["orders"]["published"] == 2 * 40
    assert found["pipelines"]["orders"]["taken"] == 2 * 40
    assert found["dead_letters"]["unclaimed"] == 2 * 3


def test_replicas_that_started_at_the_same_time_are_counted_each() -> None:
    text = f"{EXPERIENCE}process_start_time_seconds {NOW}\n"
    assert status(answer(text), answer(text))["connections"] == 14


def test_what_no_replica_of_a_service_has_answered_is_not_known() -> None:
    found = status(answer(SYSTEM), Answer("http://p:8082", error="Connection refused"))
    assert (found["connections"], found["catching_up"], found["lag_records"]) == (None, None, None)
    assert found["dead_letters"]["unclaimed"] is None
    assert [replica["connections"] for replica in found["replicas"]] == [0, None]
    assert status(answer(EXPERIENCE))["connections"] == 7
