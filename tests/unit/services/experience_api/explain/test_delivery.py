"""Whether an event was written to a connection of the client."""

import pytest

from services.experience_api.explain.delivery import delivered
from services.experience_api.explain.evidence import Evidence
from services.experience_api.explain.verdict import Hop
from services.experience_api.wire.frames import event_frame
from tests.unit.services.experience_api.explain.making import (
    AT,
    CODEC,
    INGESTED,
    MINUTE,
    ONE,
    PUBLISHED,
    consumer,
    details,
    evidence,
)

CHANGED_BEFORE, CHANGED_AFTER = CODEC.encode((10, 0)).decode(), CODEC.encode((11, 0)).decode()
"""Cursors before the event and behind it."""


def delivery(known: Evidence) -> Hop:
    return delivered(known, [PUBLISHED], [PUBLISHED])


def told(**more: object) -> Evidence:
    return evidence(details={ONE: details(**more)})


def frame(data: bytes) -> bytes:
    return event_frame(b'{"id":"orders:7","data":%b}' % data, b"")


@pytest.mark.parametrize(
    ("known", "answer", "text"),
    [
        (evidence(), "yes", "it was written to the connection of the client"),
        (told(buffered=9), "yes", "9 bytes wait in the replica"),
        (told(conflate=0.5), "yes", "or a later one of its subject"),
        (evidence(details={ONE: details(10, 0)}), "no", "has not been served up to it yet: 5 records are left"),
        (told(channels=("stock",)), "no", "does not subscribe to orders.eu"),
        (told(channels=("stock",), changed=CHANGED_BEFORE), "no", "does not subscribe to orders.eu"),
        (told(channels=("stock",), changed=CHANGED_AFTER), "unknown", "has changed since it passed the event"),
        (told(changed=CHANGED_AFTER), "unknown", "has changed since it passed the event"),
        (told(changed=CHANGED_BEFORE), "yes", "it was written to the connection of the client"),
        (told(changed="???"), "yes", "it was written to the connection of the client"),
        (evidence(details={}), "unknown", "experience-0, which did not tell"),
        (told(cursor="???"), "unknown", "cannot be compared"),
        (evidence(consumer=consumer(AT + 1)), "unknown", "began after the event was published"),
        (evidence(consumer=consumer(None, AT - MINUTE)), "no", "not connected, and was not"),
        (evidence(consumer=consumer(None, AT + MINUTE)), "unknown", "connected until 2023-11-14T22:14:20.000Z"),
        (evidence(consumer=None), "no", "has not registered"),
    ],
    ids=range(16),
)
def test_the_answer_and_why(known: Evidence, answer: str, text: str) -> None:
    hop = delivery(known)
    assert hop.answer.value == answer
    assert text in hop.text


def test_the_filters_of_the_connection_are_applied() -> None:
    made = details(filters={"orders.*": "n > 1"})
    for data, answer in ((b'{"n":1}', "no"), (b'{"n":2}', "yes")):
        known = evidence(details={ONE: made}, frames={(0, 10): frame(data)})
        assert delivery(known).answer.value == answer
    lost = delivery(evidence(details={ONE: made}))  # the event is not kept any more
    assert (lost.answer.value, "the event cannot be read" in lost.text) == ("unknown", True)


def test_of_more_records_than_were_looked_at_another_may_be_of_its_channels() -> None:
    known = told(channels=("stock",))
    known.search.more = True
    assert delivery(known).answer.value == "unknown"


def test_it_is_not_looked_at_before_the_event_is_there_and_permitted() -> None:
    assert delivered(evidence(INGESTED), [], []).answer.value == "skipped"
    assert delivered(evidence(), [PUBLISHED], []).answer.value == "skipped"
