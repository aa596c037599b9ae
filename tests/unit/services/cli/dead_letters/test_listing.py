"""Dead letters as text."""

from typing import Any

from services.cli.dead_letters import listing

LETTER: dict[str, Any] = {
    "id": "0-17",
    "time": "2026-01-31T12:00:00.000Z",
    "status": "open",
    "stage": "pipeline",
    "source": "orders",
    "pipeline": "orders@3f2a9c01",
    "attempts": 2,
    "error": "steps.0.validate: \x1b[31m" + "x" * 100,
}


def test_a_table_has_a_line_for_each_letter() -> None:
    heading, line = listing.table([LETTER])
    assert heading.split() == ["ID", "TIME", "STATUS", "STAGE", "SOURCE", "PIPELINE", "TRIES", "ERROR"]
    assert line.startswith(
        "0-17  2026-01-31T12:00:00.000Z  open    pipeline  orders  orders    2      steps.0.validate: \\x1b"
    )
    assert line.endswith("x…")
    assert list(listing.table([{**LETTER, "source": "", "pipeline": "", "error": "e"}]))[1].endswith(
        "-       -         2      e"
    )


def test_counts_have_a_line_for_each_cause() -> None:
    group = {**LETTER, "count": 3, "pipeline": "orders", "oldest": "a", "newest": "b", "example": "0-17", "error": "e"}
    found = {"total": 5, "groups": [group], "ungrouped": 2}
    assert [line.split() for line in listing.counts(found)] == [
        ["5", "letters"],
        ["COUNT", "STAGE", "SOURCE", "PIPELINE", "OLDEST", "NEWEST", "EXAMPLE", "ERROR"],
        ["3", "pipeline", "orders", "orders", "a", "b", "0-17", "e"],
        ["and", "2", "of", "further", "causes"],
    ]
    assert list(listing.counts({"total": 1, "groups": [], "ungrouped": 0})) == ["1 letter"]


def test_details_leave_out_what_is_empty() -> None:
    decision = {"by": "ann", "at": "now"}
    shown = list(listing.details({**LETTER, "error": "e", "key": None, "pipeline": "", "decision": decision, "x": {}}))
    assert "id: 0-17" in shown
    assert shown[-3:] == ["decision:", "  by: ann", "  at: now"]
    assert not any(line.startswith(("key", "pipeline", "x")) for line in shown)


def test_details_are_written_as_in_json() -> None:
    assert list(listing.details({"truncated": False, "attempts": 1})) == ["truncated: false", "attempts: 1"]


def test_input_cannot_command_the_terminal() -> None:
    assert list(listing.lines('{\n  "a": "\x9b31m"')) == ["{", '  "a": "\\x9b31m"']


def test_the_outcome_names_what_was_refused() -> None:
    refusals = [{"id": "0-1", "reason": "why\n"}]
    found = {"dry_run": True, "replayed": 1, "decided_before": 0, "refused": 0, "refusals": []}
    assert list(listing.decided(found, "replayed")) == ["1 letter would be replayed"]
    found = {"dry_run": False, "dropped": 2, "decided_before": 3, "refused": 1, "refusals": refusals}
    assert list(listing.decided(found, "dropped")) == [
        "2 letters dropped",
        "  3 had been decided on before",
        "  1 cannot be dropped:",
        "    0-1: why\\n",
    ]
    assert list(listing.decided({**found, "refused": 9}, "dropped"))[-1] == "    and 8 more"
