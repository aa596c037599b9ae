"""Bodies of operators' requests, and the audit log."""

import logging

import pytest

from shared.errors import Malformed, ProblemError
from shared.http.commands import audit, parse_body, refuse
from shared.http.operators import Operator


def test_a_body_is_a_json_object_of_known_members_and_may_be_empty() -> None:
    assert parse_body(b"", {"reason"}) == {}
    assert parse_body(b'{"reason": "r"}', {"reason", "to"}) == {"reason": "r"}


@pytest.mark.parametrize(
    ("body", "members", "error"),
    [
        (b"{", {"to"}, "the body is not JSON: "),
        (b"\xff", {"to"}, "the body is not JSON: "),
        pytest.param(b"[" * 100_000, {"to"}, "the body is not JSON: ", id="deep"),
        (b"[]", {"to"}, "the body: expected a JSON object"),
        (b'{"b": 1, "a": 1}', {"to", "dry_run"}, "found the member 'a'; expected dry_run, to"),
        (b'{"a": 1}', set(), "found the member 'a'; expected an empty body"),
    ],
)
def test_any_other_body_is_refused_by_what_is_wrong(body: bytes, members: set[str], error: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_body(body, members)
    assert error in str(caught.value)


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
