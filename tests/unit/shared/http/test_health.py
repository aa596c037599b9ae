import logging

import pytest

from shared.http.health import NotYet, Readiness


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


def test_a_probe_is_asked_at_every_look() -> None:
    problem: list[str | None] = [None]
    readiness = Readiness()
    readiness.require("bus", lambda: problem[0])
    assert readiness.ready
    problem[0] = "gone"
    assert readiness.missing() == {"bus": "gone"}


def test_a_note_is_told_and_changes_nothing() -> None:
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


def test_trouble_is_logged_once_when_it_begins_and_once_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    readiness = Readiness()
    readiness.require("bus")
    for _ in range(3):
        readiness.report("bus", "refused")
    for _ in range(3):
        readiness.report("bus", None)
    readiness.report("bus", "refused again")
    assert [record.getMessage() for record in caplog.records] == [
        "waiting for bus: refused",
        "bus is connected",
        "waiting for bus: refused again",
    ]


def test_a_probe_is_logged_once_too(caplog: pytest.LogCaptureFixture) -> None:
    readiness = Readiness()
    readiness.require("bus", lambda: "refused")
    for _ in range(3):
        assert not readiness.ready
    assert [record.getMessage() for record in caplog.records] == ["waiting for bus: refused"]


def test_what_is_only_noted_and_works_is_not_worth_a_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    readiness = Readiness()
    readiness.note("mail")
    readiness.report("mail", None)
    assert not caplog.records


def test_the_trouble_of_a_note_is_logged_from_its_first_report_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    readiness = Readiness()
    for part, problem in (("mail", "connection refused"), ("other", None)):
        readiness.note(part)
        readiness.report(part, problem)
    assert caplog.messages == ["waiting for mail: connection refused"]


def test_a_reason_that_is_still_to_be_named_is_shown_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    problem: list[str] = [NotYet("the database comes first")]
    readiness = Readiness()
    readiness.require("bus", lambda: problem[0])
    assert readiness.missing() == {"bus": "the database comes first"}
    problem[0] = "Kafka at kafka:9092: connection refused"
    for _ in range(2):
        assert readiness.missing() == {"bus": "Kafka at kafka:9092: connection refused"}
    assert caplog.messages == ["waiting for bus: Kafka at kafka:9092: connection refused"]
