from services.experience_api.stream.oversized import OversizedEvents


def test_a_client_is_told_after_the_second_failure_at_one_place() -> None:
    events = OversizedEvents()
    for told in (False, False, True, True):
        assert events.tells("demo", "C") is told
        events.ended("demo", "C", 1009)
    assert not events.tells("demo", "D")
    assert not events.tells("demo", None)
    assert not events.tells("other", "C")


def test_each_place_counts_for_itself() -> None:
    """Two instances of an application fail in turns, each at its own cursor."""
    events = OversizedEvents()
    for cursor in ("C", "D"):
        events.ended("demo", cursor, 1009)
    assert not events.tells("demo", "C")
    assert not events.tells("demo", "D")
    for cursor in ("C", "D"):
        events.ended("demo", cursor, 1009)
        assert events.tells("demo", cursor)


def test_a_cursor_may_be_any_text() -> None:
    events = OversizedEvents()
    for _ in range(2):
        events.ended("demo", "\udc80", 1009)
    assert events.tells("demo", "\udc80")


def test_other_endings_do_not_count() -> None:
    events = OversizedEvents()
    for code in (None, 1000, 1001, 1006):
        events.ended("demo", "C", code)
    events.ended("demo", None, 1009)
    events.ended("demo", None, 1009)
    assert not events.tells("demo", "C")
    assert not events.tells("demo", None)


def test_memory_is_limited() -> None:
    events = OversizedEvents()
    for number in range(10_001):
        for _ in range(2):
            events.ended(f"client-{number}", "C", 1009)
    assert not events.tells("client-0", "C")
    assert events.tells("client-1", "C")
