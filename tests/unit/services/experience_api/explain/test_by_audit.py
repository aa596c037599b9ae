"""Deliveries that only the audit knows."""

import dataclasses
from typing import Any

import pytest

from services.experience_api.explain.audited import Audit, Audited
from services.experience_api.explain.delivery import delivered
from services.experience_api.explain.evidence import Evidence
from services.experience_api.explain.hops import hops
from services.experience_api.explain.search import Stage
from services.experience_api.explain.verdict import Hop, conclude
from services.experience_api.registry.clients import Client
from services.experience_api.wire.frames import event_frame
from tests.unit.services.experience_api.explain.making import AT, MINUTE, ONE, PUBLISHED, consumer, evidence

GONE = evidence(consumer=consumer(None, AT + MINUTE))
"""The client was connected when the event was published, and is not any more."""


def audited(**more: Any) -> Audited:
    usual: dict[str, Any] = {"sent": True, "acknowledged": True, "channels": ["orders.*"], "filters": {}, "conflate": 0}
    return Audited("c-1", "experience-0", "2023-11-14T22:13:30Z", 0, 10, **{**usual, **more})


def answer(known: Evidence, *written: Audited, cut: tuple[Stage, ...] = (), **audit: Any) -> Hop:
    known.search.audit = Audit("shop", "epoch", 2, list(written), **{"records": 5, **audit})
    known.search.cut = list(cut)
    return delivered(known, [PUBLISHED], [PUBLISHED])


@pytest.mark.parametrize(
    ("written", "expected", "text"),
    [
        (audited(), "yes", "it was received by the client's end of connection c-1 of experience-0 by 2023"),
        (audited(conflate=0.5), "yes", "the event, or a later one of its subject, was received"),
        (audited(sent=None, acknowledged=None), "yes", "under TLS and over HTTP, the audit knows no more"),
        (
            audited(acknowledged=False, ended="4001 too slow"),
            "unknown",
            "received it, which ended: 4001 too slow",
        ),
        (audited(sent=False, acknowledged=False), "unknown", "was not sent when the audit was written last"),
        (audited(sent=False, acknowledged=False, ended="4001 too slow"), "no", "which ended: 4001 too slow"),
    ],
    ids=range(6),
)
def test_a_record_of_the_event_answers(written: Audited, expected: str, text: str) -> None:
    hop = answer(GONE, written)
    assert hop.answer.value == expected
    assert text in hop.text
    assert hop.evidence["audit"]["connection"] == "c-1"


def test_the_most_certain_of_several_records_answers() -> None:
    assert answer(GONE, audited(acknowledged=False), audited(), audited(sent=False)).answer.value == "yes"


def test_a_range_spans_what_the_connection_did_not_subscribe_to() -> None:
    for other in (audited(channels=["stock"]), audited(filters={"orders.*": "n > 1"})):
        frame = event_frame(b'{"id":"orders:7","data":{"n":1}}', b"")
        known = dataclasses.replace(GONE, frames={(0, 10): frame})
        assert answer(known, other).answer.value == "unknown"
    elsewhere = Audited("c-1", "n", "t", 1, 3, ["orders.*"], {}, 0, acknowledged=True)
    assert answer(GONE, elsewhere).answer.value == "unknown"


def test_filters_cannot_be_applied_to_an_event_that_is_kept_no_longer() -> None:
    hop = answer(GONE, audited(filters={"orders.*": "n > 1"}))
    assert (hop.answer.value, "connection c-1 was served beyond the event" in hop.text) == ("unknown", True)
    assert answer(GONE, audited(filters={"orders.*": "n > 1"}), audited()).answer.value == "yes"


@pytest.mark.parametrize("client", [Client("shop", "hash", ("stock",)), None], ids=["other channels", "removed"])
def test_what_was_delivered_stays_delivered_whatever_the_client_may_read_now(client: Client | None) -> None:
    known = evidence(client=client, consumer=None)
    known.search.audit = Audit("shop", "epoch", 2, [audited()], records=5)
    assert delivered(known, [PUBLISHED], []).answer.value == "yes"
    assert conclude(hops(known))["hop"] == "delivery"
    known.search.audit.written = [audited(sent=False, acknowledged=False)]
    assert delivered(known, [PUBLISHED], []).answer.value == "skipped"
    assert conclude(hops(known))["hop"] == "grant"


def test_a_client_whose_registration_was_revoked_may_have_got_it_before() -> None:
    assert answer(evidence(consumer=None), audited()).answer.value == "yes"
    assert answer(evidence(consumer=None)).answer.value == "no"


def test_an_earlier_connection_counts_where_the_one_of_now_has_not_got_it() -> None:
    known = evidence(consumer=consumer(AT + 1))
    assert answer(known, audited()).answer.value == "yes"


def test_a_connection_that_ended_before_the_event_was_written() -> None:
    hop = answer(GONE, missed=["c-1 at 22:13 (4000 draining)"])
    assert hop.answer.value == "no"
    assert "c-1 at 22:13 (4000 draining) ended before the event was written to it" in hop.text


def test_a_connection_without_an_end_leaves_it_unknown() -> None:
    hop = answer(GONE, missed=["c-1"], behind={"c-2": False, "c-3": True})
    assert (hop.answer.value, "connection c-2 has no end there" in hop.text) == ("unknown", True)
    several = dataclasses.replace(GONE, client=Client("shop", "hash", ("orders.*",), max_connections=2))
    assert answer(several, missed=["c-1"]).answer.value == "unknown"
    assert answer(evidence(client=None, consumer=GONE.consumer), missed=["c-1"]).answer.value == "unknown"
    now = evidence(consumer=consumer(AT + 1))
    assert answer(now, missed=["c-1"], behind={str(ONE): False}).answer.value == "no"


def test_a_snapshot_may_have_had_the_event() -> None:
    hop = answer(GONE, missed=["c-1 at 22:13 (4000 draining)"], snapshots=True)
    assert hop.answer.value == "unknown"
    assert "it may have been in a snapshot" in hop.text


def test_without_an_audit_the_answer_says_so() -> None:
    hop = answer(GONE, records=0)
    assert (hop.answer.value, "no record of the client" in hop.text) == ("unknown", True)
    assert "`experience.audit`" in hop.todo
    cut = answer(GONE, cut=(Stage.AUDIT,))
    assert "limit of bytes" in cut.text


def test_a_client_that_was_not_connected_did_not_get_it() -> None:
    hop = answer(evidence(consumer=consumer(None, AT - MINUTE)))
    assert hop.answer.value == "no"
    assert "not connected, and was not" in hop.text
