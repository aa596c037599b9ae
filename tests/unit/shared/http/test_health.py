import logging

import pytest

from shared.http.health import NotYet, Readiness
from shared.runtime.clock import SystemClock


def test_nothing_declared_is_ready() -> None:
    assert Readiness().ready


def test_a_required_part_is_missing_until_it_is_reported() -> None:
    readiness = Readiness()
    readiness.require("bus")
    assert readiness.describe() == {
        "ready": False,
        "draining": False,
        "missing": {"bus": "not connected yet"},
        "notes": {},
    }
    readiness.report("bus", None)
    assert readiness.ready
    readiness.report("bus", "connection refused")
    assert readiness.missing() == {"bus": "connection refused"}


def test_a_part_that_is_required_at_the_start_keeps_a_service_ready_that_was_ready_once() -> None:
    problems: dict[str, str | None] = {"bus": "refused", "registry": None}
    readiness = Readiness()
    readiness.require("bus", lambda: problems["bus"], at_start=True)
    readiness.require("registry", lambda: problems["registry"])
    assert not readiness.ready
    problems |= {"bus": None, "registry": "refused"}
    assert not readiness.ready
    problems["bus"] = "refused"
    assert not readiness.ready, "both were connected, and never at the same time"
    problems |= {"bus": None, "registry": None}
    assert readiness.ready
    problems["bus"] = "refused"
    assert readiness.describe() == {"ready": True, "draining": False, "missing": {"bus": "refused"}, "notes": {}}
    assert readiness.parts() == {"bus": False, "registry": True}
    problems["registry"] = "refused"
    assert not readiness.ready
    problems["registry"] = None
    assert readiness.ready
    readiness.draining = True
    assert not readiness.ready


def test_a_part_that_one_service_of_several_always_requires_is_always_required() -> None:
    problem: list[str | None] = [None]
    readiness = Readiness()
    for at_start in (True, False):
        readiness.require("bus", lambda: problem[0], at_start=at_start)
    assert readiness.ready
    problem[0] = "refused"
    assert not readiness.ready


def test_without_reasons_the_parts_alone_are_named() -> None:
    readiness = Readiness()
    readiness.require("bus", lambda: "Kafka at kafka-0:9092: connection refused")
    readiness.note("mail", lambda: None)
    assert readiness.describe(reasons=False) == {
        "ready": False,
        "draining": False,
        "missing": {"bus": "unavailable"},
        "notes": {},
    }


def test_a_probe_is_asked_at_every_look() -> None:
    problem: list[str | None] = [None]
    readiness = Readiness()
    readiness.require("bus", lambda: problem[0])
    assert readiness.ready
    problem[0] = "gone"
    assert readiness.missing() == {"bus": "gone"}


def test_a_note_is_shown_and_does_not_make_it_unready() -> None:
    readiness = Readiness()
    readiness.note("mail")
    readiness.report("mail", "connection refused")
    assert readiness.ready
    assert readiness.notes() == {"mail": "connection refused"}
    assert readiness.parts() == {"mail": False}


def test_draining_is_not_ready() -> None:
    readiness = Readiness()
    readiness.draining = True
    assert not readiness.ready
    assert readiness.describe()["ready"] is False


def test_a_part_must_be_declared() -> None:
    with pytest.raises(KeyError, match="database was not declared"):
        Readiness().report("database", None)


class Stopwatch(SystemClock):
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.at = 100.0

    def monotonic(self) -> float:
        return self.at


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, ...]]:
    names = ("component", "error", "after_s")
    return [
        (record.getMessage(), *(str(vars(record)[name]) for name in names if name in vars(record)))
        for record in caplog.records
    ]


def test_an_outage_is_logged_once_when_it_begins_and_once_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Stopwatch()
    readiness = Readiness(clock)
    readiness.require("bus")
    for _ in range(3):
        readiness.report("bus", "refused")
    clock.at += 12.34
    for _ in range(3):
        readiness.report("bus", None)
    readiness.report("bus", "refused again")
    assert logged(caplog) == [
        ("unavailable", "bus", "refused"),
        ("connected", "bus", "12.3"),
        ("unavailable", "bus", "refused again"),
    ]


def test_the_first_connection_is_logged_without_a_duration(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    readiness = Readiness()
    readiness.require("bus", lambda: None)
    assert readiness.ready
    assert logged(caplog) == [("connected", "bus")]


def test_a_part_that_services_share_is_connected_when_it_is_for_all_of_them() -> None:
    problems: list[str | None] = [None, "not joined yet"]
    readiness = Readiness()
    for number in range(2):
        readiness.require("bus", lambda number=number: problems[number])  # type: ignore[misc]
    assert readiness.missing() == {"bus": "not joined yet"}
    problems[:] = ["refused", None]
    assert readiness.missing() == {"bus": "refused"}
    problems[0] = None
    assert readiness.ready


def test_a_probe_is_logged_once_too(caplog: pytest.LogCaptureFixture) -> None:
    readiness = Readiness()
    readiness.require("bus", lambda: "refused")
    for _ in range(3):
        assert not readiness.ready
    assert logged(caplog) == [("unavailable", "bus", "refused")]


def test_a_note_that_works_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    readiness = Readiness()
    readiness.note("mail")
    readiness.report("mail", None)
    assert not caplog.records


def test_the_problem_of_a_note_is_logged_from_its_first_report_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    readiness = Readiness()
    for part, problem in (("mail", "connection refused"), ("other", None)):
        readiness.note(part)
        readiness.report(part, problem)
    assert logged(caplog) == [("unavailable", "mail", "connection refused")]


def test_a_note_with_a_probe_is_left_to_the_part_to_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    readiness = Readiness()
    readiness.note("source/orders", lambda: "no such file")
    assert readiness.notes() == {"source/orders": "no such file"}
    assert not caplog.records


def test_a_reason_that_is_still_to_be_named_is_shown_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    problem: list[str] = [NotYet("waiting for lease_store")]
    readiness = Readiness()
    readiness.require("bus", lambda: problem[0])
    assert readiness.missing() == {"bus": "waiting for lease_store"}
    problem[0] = "Kafka at kafka:9092: connection refused"
    for _ in range(2):
        assert readiness.missing() == {"bus": "Kafka at kafka:9092: connection refused"}
    assert logged(caplog) == [("unavailable", "bus", "Kafka at kafka:9092: connection refused")]
