"""Examples with look-ups, clocks and partitions that wait."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.cli.pipelines.examples import Example
from services.cli.pipelines.mocks import Mock, Mocks
from services.cli.pipelines.playing import failure
from services.process_api.pipeline.pipeline import PipelineOptions

SQL = {"url": "postgresql://u@db.invalid/crm", "query": "SELECT id, name FROM c WHERE id IN :keys"}
ENRICH = {"enrich": {"sql": SQL, "key": "customer", "into": "data.customer"}}
OAUTH = {"kind": "oauth2", "token_url": "https://id.invalid/t", "client_id": "a", "client_secret": "secret"}
CALL = {
    "call": {
        "url": "https://fraud.invalid/score",
        "into": "data.score",
        "response": "score",
        "auth": OAUTH,
        "tls": {"ca_file": "/absent.pem"},
    }
}
HTTP = {"enrich": {"http": {"url": "https://crm.invalid/{key}", "response": "found"}, "key": "c", "into": "data.c"}}
MINUTES = [
    ("2026-01-01T10:00:00.000Z", "2026-01-01T10:01:00.000Z"),
    ("2026-01-01T10:01:00.000Z", "2026-01-01T10:02:00.000Z"),
]
AGGREGATE = {"aggregate": {"window": {"tumbling": 60}, "values": {"n": "count"}, "idle": 5}}


async def played(*steps: Any, shared: tuple[Mock, ...] = (), **given: Any) -> str:
    options = PipelineOptions.model_validate({"sources": ["*"], "channel": "orders", "steps": list(steps)})
    example = Example.model_validate({"name": "a", "pipeline": "orders", **given})
    return await failure(example, options, Mocks(example.mocks, shared))


async def test_an_event_passes_at_the_attempt_that_is_answered() -> None:
    assert not await played(
        ENRICH,
        CALL,
        given=[{"data": {"customer": "C-9", "amount": 5}}],
        mocks=[
            {"step": "enrich", "key": "C-9", "answers": [{"timeout": True}, {"value": {"name": "Ada"}}]},
            {
                "step": "steps.1.call",
                "body": "amount = 5",
                "answers": [{"status": 503}, {"error": "reset"}, {"timeout": True}, {"value": {"score": 0.9}}],
            },
        ],
        expect=[{"data": {"customer": {"name": "Ada"}, "amount": 5, "score": 0.9}}],
    )


async def test_a_later_part_that_waits_is_tried_again_alone() -> None:
    score = {"call": {"url": "https://fraud.invalid/score", "into": "data.score", "retry": {"attempts": 1}}}
    assert not await played(
        {"dedupe": {"by": "n", "within": 60}},
        {"repartition": "customer"},
        score,
        given=[{"subject": "order-1", "data": {"n": 1, "customer": customer}} for customer in ("C-9", "C-8")],
        mocks=[{"step": "call", "answers": [{"status": 503}, {"value": 7}]}],
        expect=[{"subject": "C-9", "data": {"n": 1, "customer": "C-9", "score": 7}}],
    )


async def test_a_response_is_read_as_that_of_the_api() -> None:
    assert not await played(
        HTTP,
        given=[{"data": {"c": 7}}, {"data": {"c": 8}}],
        mocks=[{"url": "https://crm.invalid/7", "answers": [{"value": {"found": 1}}]}, {"key": 8, "answers": [{}]}],
        expect=[{"data": {"c": 1}}, {"data": {"c": None}}],
    )


async def test_a_look_up_without_an_answer_is_named_whatever_the_step_does_about_it() -> None:
    forgiving = {"call": {**CALL["call"], "on_error": "default", "default": 0}}
    text = await played(forgiving, given=[{"data": {"n": 1}}], expect=[{"data": {"n": 1, "score": 0}}])
    assert text.splitlines()[0] == "look-ups without an answer:"
    assert "steps.0.call: POST https://fraud.invalid/score has no answer" in text
    assert "steps.0.enrich: the key 'C-9'" in await played(ENRICH, given=[{"data": {"customer": "C-9"}}])


async def test_a_partition_that_waits_in_the_end_is_expected_or_a_failure() -> None:
    down: dict[str, Any] = {
        "given": [{"data": {"n": 1}}, {"data": {"n": 2}}],
        "mocks": [{"step": "call", "answers": [{"status": 503, "text": "down"}]}],
    }
    assert not await played(CALL, **down, held="steps.0.call: *503*down*")
    text = await played(CALL, **down)
    assert "held (-: expected, +: found)" in text
    assert "-nothing\n+steps.0.call: POST https://fraud.invalid/score: 503" in text


async def test_an_answer_that_no_retry_changes_is_a_dead_letter() -> None:
    assert not await played(
        CALL,
        given=[{"data": {"n": 1}}],
        mocks=[{"answers": [{"status": 400, "text": "no"}]}],
        dead_letters=["steps.0.call: *400*no*"],
    )


async def test_an_event_counts_once_where_a_result_that_it_makes_due_waits() -> None:
    aggregate = {"aggregate": {"window": {"tumbling": 60}, "values": {"n": "count"}}}
    assert not await played(
        aggregate,
        CALL,
        given=[{"subject": "C-1", "time": f"2026-01-01T10:0{minute}:00Z"} for minute in range(3)],
        mocks=[{"step": "call", "answers": [*[{"status": 503}] * 4, {"value": {"score": 0.9}}]}],
        expect=[{"data": {"start": start, "end": end, "final": True, "n": 1, "score": 0.9}} for start, end in MINUTES],
    )


async def test_a_mock_that_nothing_asks_is_a_failure_unless_it_is_shared() -> None:
    given: dict[str, Any] = {"given": [{"data": {}}], "expect": [{"data": {}}]}
    mock = {"step": "call", "answers": [{"value": 1}]}
    assert (await played(mocks=[mock], **given)).startswith("mocks.0: no look-up gets it")
    assert not await played(shared=(Mock.model_validate(mock),), **given)


async def test_a_tick_moves_the_clock_on_without_an_event() -> None:
    event = {"data": 1, "subject": "a"}
    window = {"start": "2026-01-01T00:00:00.000Z", "end": "2026-01-01T00:01:00.000Z", "final": True, "n": 2}
    assert not await played(AGGREGATE, given=[event, {"tick": 10}, event, {"tick": 70}], expect=[{"data": window}])
    assert not await played(AGGREGATE, given=[event, {"tick": 10}, event, {"tick": 20}])


async def test_a_tick_ends_what_a_look_up_keeps() -> None:
    enrich = {"enrich": {**HTTP["enrich"], "cache": {"ttl": 60}}}
    event = {"data": {"c": 7}}
    assert not await played(
        enrich,
        given=[event, {"tick": 30}, event, {"tick": 40}, event],
        mocks=[{"key": 7, "answers": [{"value": 1}, {"value": 2}]}],
        expect=[{"data": {"c": 1}}, {"data": {"c": 1}}, {"data": {"c": 2}}],
    )


@pytest.mark.parametrize("seconds", ["soon", -1, True, None], ids=str)
def test_a_tick_is_a_number_of_seconds(seconds: Any) -> None:
    with pytest.raises(ValidationError, match="expected seconds, such as"):
        Example.model_validate({"name": "a", "pipeline": "orders", "given": [{"tick": seconds}]})


async def test_a_database_in_a_file_is_asked_where_it_is_allowed(tmp_path: Path) -> None:
    step = {"enrich": {**ENRICH["enrich"], "sql": {**SQL, "url": f"sqlite:///{tmp_path}/absent.db"}}}
    options = PipelineOptions.model_validate({"sources": ["*"], "channel": "orders", "steps": [step]})
    example = Example.model_validate({"name": "a", "pipeline": "orders", "given": [{"data": {"customer": 1}}]})
    assert "no such file" in await failure(example, options, Mocks([], live=True))
