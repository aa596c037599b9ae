"""Options become the members of a request; `test_commands` sends them."""

from datetime import UTC, datetime, timedelta

from services.cli.dead_letters.selecting import filters_of, selection


def test_a_time_may_be_so_long_ago() -> None:
    found = filters_of({"since": "2h", "until": "2026-01-31T00:00:00Z", "source": None})
    ago = datetime.now(UTC) - datetime.fromisoformat(found["since"])
    assert timedelta(hours=2) <= ago < timedelta(hours=2, minutes=5)
    assert found["until"] == "2026-01-31T00:00:00Z"
    assert "source" not in found


def test_letters_are_named_or_filtered_or_all() -> None:
    none = dict.fromkeys(("pipeline", "source", "stage", "error", "since", "until"))
    assert selection(("0-1",), {**none, "everything": False, "reason": "r"}) == {"ids": ["0-1"], "reason": "r"}
    assert selection((), {**none, "everything": True, "reason": ""}) == {"all": True}
    assert selection((), {**none, "pipeline": "", "everything": False, "reason": ""}) == {"pipeline": ""}
