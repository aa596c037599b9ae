"""A message that is delivered again and again is processed alone, and parked in the end."""

import pytest

from services.system_api.sources.queue.deliveries import Deliveries
from services.system_api.sources.queue.message import Message


def message(place: str, deliveries: int) -> Message:
    return Message(place, b"1", deliveries=deliveries)


def test_the_first_message_of_a_connection_comes_alone() -> None:
    deliveries = Deliveries(5)
    deliveries.begin_connection()
    assert deliveries.limit(100) == 1
    assert deliveries.begin(message("a", 1)) is None
    assert deliveries.limit(100) == 100


def test_from_the_third_delivery_on_messages_come_alone() -> None:
    deliveries = Deliveries(5)
    assert deliveries.begin(message("a", 3)) is None
    assert deliveries.limit(100) == 1
    assert deliveries.begin(message("b", 2)) is None
    assert deliveries.limit(100) == 100


def test_a_repeat_shows_as_well_whether_messages_are_delivered_often() -> None:
    deliveries = Deliveries(5)
    deliveries.note_repeat(message("a", 3))
    assert deliveries.alone
    deliveries.note_repeat(message("a", 2))
    assert not deliveries.alone


def test_above_the_limit_a_message_is_parked_with_the_last_error() -> None:
    deliveries = Deliveries(5)
    assert deliveries.begin(message("a", 5)) is None
    assert deliveries.begin(message("a", 6)) == "delivered 6 times and never processed to the end"
    deliveries.note_failed(message("a", 6), "KeyError: 'id'")
    assert deliveries.begin(message("a", 7)) == (
        "delivered 7 times and never processed to the end; the last error: KeyError: 'id'"
    )


def test_what_was_processed_here_is_harmless_until_it_is_settled() -> None:
    deliveries = Deliveries(2)
    deliveries.note_processed(message("a", 1))
    assert deliveries.begin(message("a", 100)) is None
    assert not deliveries.alone
    deliveries.note_settled([message("a", 100)])
    assert deliveries.begin(message("a", 100)) is not None


@pytest.mark.parametrize("note", ["note_processed", "note_failed"])
def test_little_is_remembered(note: str) -> None:
    deliveries = Deliveries(2)
    for number in range(10_001):
        arguments = ("error",) if note == "note_failed" else ()
        getattr(deliveries, note)(message(str(number), 1), *arguments)
    reasons = [deliveries.begin(message(place, 9)) for place in ("0", "1")]
    assert [reason is None or "error" in (reason or "") for reason in reasons] == [False, True]
