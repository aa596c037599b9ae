"""What is certain of one connection."""

from services.experience_api.hub.audience import interest_in
from services.experience_api.hub.close_codes import REMOVED
from services.experience_api.hub.heartbeat import Progress
from services.experience_api.stream.auditing.trail import _NOTES, Trail

INTEREST = interest_in(["orders.*"], {"orders.*": "n > 1"}, 0.5)
NOON = 1_700_000_000.5


def trail(*, measurable: bool = True) -> Trail:
    return Trail("shop", "one", "experience-0", INTEREST, measurable=measurable)


def state(made: Trail) -> tuple[object, ...]:
    found = made.delivered(NOON)
    assert found is not None
    return tuple(found[name] for name in ("after", "written", "sent", "acknowledged"))


def test_the_beginning_names_the_connection_and_what_it_receives() -> None:
    made = trail()
    made.note("a", Progress(0, 10, 5))
    assert made.opened(NOON) == {
        "kind": "opened",
        "client_id": "shop",
        "connection_id": "one",
        "node": "experience-0",
        "at": "2023-11-14T22:13:20.500Z",
        "channels": ["orders.*"],
        "filters": {"orders.*": "n > 1"},
        "conflate": 0.5,
        "after": "a",
        "written": "a",
        "sent": "a",
        "acknowledged": None,
    }


def test_nothing_is_claimed_before_the_kernel_has_it() -> None:
    made = trail()
    made.note("a", Progress(0, 10))
    assert state(made) == ("a", "a", "a", "a")
    made.note("b", Progress(7, 10, 90))
    assert state(made) == ("a", "b", "a", "a")
    made.note("c", Progress(0, 50, 60))
    assert state(made) == ("b", "c", "c", "a")
    made.note("c", Progress(0, 109, 1))
    assert made.delivered(NOON) is None
    made.note("d", Progress(3, 110))
    assert state(made) == ("c", "d", "c", "c")


def test_nothing_new_makes_no_record() -> None:
    made = trail()
    made.note("a", Progress(0, 10))
    made.opened(NOON)
    made.note("a", Progress(0, 10))
    assert made.delivered(NOON) is None


def test_what_the_kernel_counts_is_not_compared_under_tls_or_where_it_counts_nothing() -> None:
    for made, progress in ((trail(measurable=False), Progress(0, 10)), (trail(), Progress(0))):
        made.note("a", progress)
        assert state(made) == ("a", "a", None, None)


def test_the_notes_are_bounded() -> None:
    made = trail()
    for number in range(_NOTES + 5):
        made.note(f"c{number}", Progress(0, 0, number + 1))
    made.note("end", Progress(1, _NOTES + 5))
    assert state(made) == ("c0", "end", f"c{_NOTES + 4}", f"c{_NOTES + 4}")


def test_the_end_says_why() -> None:
    made = trail()
    made.note("a", Progress(0, 10))
    assert (made.closed(REMOVED, NOON)["code"], made.closed(REMOVED, NOON)["reason"]) == (
        REMOVED.code,
        REMOVED.name,
    )
    lost = made.closed(None, NOON)
    assert (lost["kind"], lost["code"], lost["reason"]) == ("closed", None, "")


def test_a_change_holds_from_the_next_record_on() -> None:
    made = trail()
    made.note("a", Progress(0, 10))
    made.change(interest_in(["stock"]))
    found = made.delivered(NOON)
    assert found is not None
    assert (found["channels"], found["filters"], found["conflate"]) == (["stock"], {}, 0.0)
