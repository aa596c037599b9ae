from typing import Any

import pytest

from services.cli.status.exposition import Samples
from services.cli.status.overview import Answer, overview
from tests.unit.services.cli.status.deployment import EXPERIENCE, NOW, PROCESS, READY, SYSTEM, source


def answer(text: str, url: str = "http://a:1", **more: Any) -> Answer:
    return Answer(url, ready=READY, samples=Samples(text), **more)


def status(*answers: Answer) -> dict[str, Any]:
    return overview(answers, NOW)


def alerts(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(problem["alert"], problem["place"]) for problem in found["problems"]]


@pytest.mark.parametrize(
    ("changed", "alert"),
    [
        ({"state": "down", "error": "connection refused"}, "TrelaySourceDown"),
        ({"state": "retrying", "error": "connection refused"}, "TrelaySourceDown"),
        ({"state": "degraded", "problems": ["a.csv: no header"]}, "TrelaySourceDegraded"),
        ({"state": "blocked"}, "TrelayPartDisconnected"),
        ({"state": "standby", "owner": None}, "TrelaySourceWithoutOwner"),
        ({"counts": {"published": 1, "rejected": 0, "unaccounted": -1}}, "TrelayUnaccountedRows"),
    ],
)
def test_problems_of_a_source(changed: dict[str, Any], alert: str) -> None:
    assert alerts(status(answer(SYSTEM, sources={"orders": source(**changed)}))) == [(alert, "orders")]


@pytest.mark.parametrize("changed", [{"state": "paused"}, {"state": "standby"}, {"state": "starting"}])
def test_what_is_no_problem_of_a_source(changed: dict[str, Any]) -> None:
    assert status(answer(SYSTEM, sources={"orders": source(**changed)}))["healthy"]


def test_the_log_that_a_slot_keeps_is_a_problem() -> None:
    text = SYSTEM.replace('slot_lag_bytes{source="orders"} 0', 'slot_lag_bytes{source="orders"} 2147483648')
    assert alerts(status(answer(text))) == [("TrelaySlotLag", "orders")]


def test_problems_of_a_replica() -> None:
    ready = {"ready": False, "draining": False, "missing": {"bus": "refused"}, "notes": {}}
    ready["notes"] = {"mail": "x", "settings_file": "trelay.yaml:1:1: z", "source/a": "y"}
    text = EXPERIENCE.replace("waiting 0", "waiting 2") + (
        f'trelay_certificate_expiry_timestamp_seconds{{certificate="tls.crt"}} {NOW + 86_400}\n'
        f'trelay_certificate_expiry_timestamp_seconds{{certificate="new.crt"}} {NOW + 8_640_000}\n'
        'trelay_certificate_expiry_timestamp_seconds{certificate="bad.crt"} NaN\n'
    )
    found = status(Answer("http://a", ready=ready, samples=Samples(text)))
    assert alerts(found) == [
        ("TrelayPartDisconnected", "experience_api http://a bus"),
        ("TrelayPartDisconnected", "experience_api http://a mail"),
        ("TrelaySettingsNotUsed", "experience_api http://a settings_file"),
        ("TrelayMailsNotSent", "experience_api http://a"),
        ("TrelayCertificateExpires", "experience_api http://a tls.crt"),
    ]
    assert not found["healthy"]


def test_a_pipeline_that_waits_is_a_problem() -> None:
    pipelines = {"orders": {"state": "held", "held": [{"partition": 2, "step": "0.call", "error": "refused"}]}}
    found = status(answer(PROCESS, pipelines=pipelines))
    assert alerts(found) == [("TrelayPipelineHeld", "orders partition 2")]
    assert found["problems"][0]["text"] == "step 0.call: refused"
