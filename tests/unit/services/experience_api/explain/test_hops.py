"""What each hop answers, and which one makes the conclusion."""

import dataclasses

import pytest

from services.experience_api.explain.evidence import Evidence
from services.experience_api.explain.hops import hops
from services.experience_api.explain.search import Stage
from services.experience_api.explain.verdict import Answer, conclude
from services.experience_api.registry.clients import Client
from tests.unit.services.experience_api.explain.making import (
    INGESTED,
    PUBLISHED,
    PUSHED,
    REFUSED,
    UNREADABLE,
    consumer,
    evidence,
)


def answers(known: Evidence) -> dict[str, str]:
    return {hop.name: hop.answer.value for hop in hops(known)}


def conclusion(known: Evidence) -> tuple[str, str, str]:
    found = conclude(hops(known))
    return found["hop"], found["answer"], found["text"]


def test_an_event_that_arrived_has_passed_every_hop() -> None:
    known = evidence()
    assert set(answers(known).values()) == {"yes"}
    assert conclusion(known) == ("delivery", "yes", "it was written to the connection of the client")
    views = [hop.view() for hop in hops(known)]
    assert views[0]["evidence"]["offset"] == 40
    assert views[0]["at"] == "2023-11-14T22:13:19.980Z"
    assert [hop["hop"] for hop in views] == ["ingest", "process", "publish", "grant", "delivery"]


@pytest.mark.parametrize(
    ("known", "hop", "answer", "text"),
    [
        (evidence(INGESTED, committed=40), "process", "no", "has not processed it yet: 1 offsets"),
        (evidence(INGESTED, committed=None), "process", "no", "has not processed it yet: 41 offsets"),
        (evidence(INGESTED), "process", "no", "published nothing: a step left it out"),
        (evidence(INGESTED, cut=(Stage.PUBLISH,)), "process", "unknown", "limit of bytes"),
        (
            evidence(INGESTED, REFUSED),
            "process",
            "no",
            "pipeline orders@1f refused it, and it is a dead letter: step 1",
        ),
        (evidence(UNREADABLE), "ingest", "no", "it was refused, and it is a dead letter: line 7"),
        (evidence(INGESTED, PUBLISHED, client=None), "grant", "no", "there is no client 'shop'"),
        (
            evidence(client=Client("shop", "h", ("orders.*",), disabled=True), consumer=consumer(None)),
            "grant",
            "no",
            "the client is disabled",
        ),
        (evidence(client=Client("shop", "h", ("stock",))), "grant", "no", "may not subscribe to orders.eu"),
        (evidence(consumer=None), "delivery", "no", "has not registered"),
    ],
    ids=range(10),
)
def test_the_first_hop_that_it_did_not_pass_makes_the_conclusion(
    known: Evidence, hop: str, answer: str, text: str
) -> None:
    found = conclusion(known)
    assert found[:2] == (hop, answer)
    assert text in found[2]
    assert conclude(hops(known))["todo"]


def nothing(*cut: Stage) -> Evidence:
    known = evidence(cut=cut)
    known.search.found.clear()
    return known


def test_an_event_that_is_nowhere_was_not_read_or_is_older() -> None:
    assert conclusion(nothing())[:2] == ("ingest", "no")
    assert conclusion(nothing(Stage.INGEST))[:2] == ("ingest", "unknown")
    assert conclusion(nothing(Stage.PUBLISH))[:2] == ("ingest", "unknown")
    assert answers(nothing())["process"] == answers(nothing())["delivery"] == "skipped"


def test_an_event_may_have_been_there_before_what_is_kept() -> None:
    known = dataclasses.replace(nothing(), retention_ms=90_000)  # the range begins two minutes before
    assert conclusion(known) == (
        "ingest",
        "unknown",
        "no topic has the event any more: what was written before the last 0.025 hours is not kept",
    )


def test_of_more_records_than_were_looked_at_one_may_be_permitted() -> None:
    known = evidence(client=Client("shop", "h", ("stock",)))
    known.search.more = True
    assert conclusion(known)[:2] == ("grant", "unknown")


def test_an_event_that_was_pushed_or_has_a_channel_takes_no_pipeline() -> None:
    pushed = hops(evidence(PUSHED))[0]
    assert (pushed.answer, pushed.text[:29]) == (Answer.SKIPPED, "it was pushed with POST /enti")
    direct = hops(evidence(PUBLISHED))
    assert "source orders has a channel" in direct[0].text
    assert [hop.answer for hop in direct[:3]] == [Answer.SKIPPED, Answer.SKIPPED, Answer.YES]


def test_one_pipeline_may_refuse_what_another_publishes() -> None:
    known = evidence(INGESTED, REFUSED, PUBLISHED)
    process = hops(known)[1]
    assert process.answer is Answer.YES
    assert "beside that, pipeline orders@1f refused it" in process.text
