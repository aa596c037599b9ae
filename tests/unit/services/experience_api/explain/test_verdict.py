"""The conclusion, and hops as JSON."""

from services.experience_api.explain.verdict import Answer, Hop, conclude, place, time_text
from tests.unit.services.experience_api.explain.making import AT, PUBLISHED


def test_the_first_hop_that_stops_an_event_decides_and_else_the_last_one() -> None:
    yes, skipped = Hop("a", Answer.YES, "it was"), Hop("b", Answer.SKIPPED, "not this way")
    unknown, no = Hop("c", Answer.UNKNOWN, "who knows", "ask"), Hop("d", Answer.NO, "it was not")
    assert conclude([yes, skipped, unknown, no]) == {
        "answer": "unknown",
        "hop": "c",
        "text": "who knows",
        "todo": "ask",
    }
    assert conclude([yes, skipped])["hop"] == "b"


def test_a_hop_is_shown_with_its_time_and_evidence() -> None:
    shown = Hop("a", Answer.YES, "it was", "do", AT, {"offset": 1}).view()
    assert shown == {
        "hop": "a",
        "answer": "yes",
        "text": "it was",
        "at": "2023-11-14T22:13:20.000Z",
        "evidence": {"offset": 1},
    }
    assert Hop("a", Answer.NO, "x").view()["at"] is None


def test_times_and_places_are_shown() -> None:
    assert time_text(250) == "1970-01-01T00:00:00.250Z"
    assert place(PUBLISHED) == {"partition": 0, "offset": 10, "at": "2023-11-14T22:13:20.000Z"}
