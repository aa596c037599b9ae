"""Answers to operators, and the audit log."""

import logging

import pytest

from shared.errors import ProblemError
from shared.http.commands import audit, refuse
from shared.http.operators import Operator


def test_the_audit_log_names_who_asked_for_what(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    audit("pause", Operator("alice", "192.0.2.7"), pipeline="orders", reason="")
    (line,) = (record.__dict__ for record in caplog.records)
    assert line["msg"] == "operator request accepted"
    assert {name: line[name] for name in ("component", "command", "operator", "address", "pipeline")} == {
        "component": "operators", "command": "pause", "operator": "alice", "address": "192.0.2.7", "pipeline": "orders",
    }  # fmt: skip
    assert "reason" not in line, "it is empty"


def test_a_refusal_has_a_status_and_a_reason() -> None:
    with pytest.raises(ProblemError) as caught:
        refuse(503, "the bus does not answer", {"Retry-After": "1"})
    assert (caught.value.status, caught.value.detail) == (503, "the bus does not answer")
    assert caught.value.headers == {"Retry-After": "1"}
