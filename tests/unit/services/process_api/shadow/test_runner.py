"""The process that runs shadows, in this process."""

import io
import pickle
from typing import Any

import pytest

from services.process_api.pipeline.pipeline import PipelineOptions
from services.process_api.shadow.messages import HEAD, Given, Result, Verdict, framed, pack, unpack_verdict
from services.process_api.shadow.runner import main
from tests.unit.services.process_api.making import event

VALUE = event({"n": 1})
AS_IT_IS = (b"orders", b'{"channel":"orders",' + VALUE[1:])
AWAY = {"enrich": {"sql": {"url": "sqlite:////absent.db", "query": "SELECT :keys"}, "key": "n", "into": "data.x"}}


def verdicts(*given: Given, steps: list[Any]) -> list[Verdict]:
    options = PipelineOptions.model_validate({"sources": ["*"], "channel": "orders", "steps": steps})
    requests = io.BytesIO(framed(pickle.dumps({"orders": options})) + b"".join(map(pack, given)))
    responses = io.BytesIO()
    main(requests, responses)
    written, found = responses.getvalue(), []
    while written:
        (size,) = HEAD.unpack(written[: HEAD.size])
        found.append(written[HEAD.size : HEAD.size + size])
        written = written[HEAD.size + size :]
    assert found[0] == b""
    return [unpack_verdict(each) for each in found[1:]]


def given(old: list[tuple[bytes, bytes]] | None) -> Given:
    return Given("orders", VALUE, [], "trelay.ingest", 0, 7, 1_700_000_000_001, b"C-1", old)


@pytest.mark.parametrize(
    ("steps", "old", "result", "error"),
    [
        ([], [AS_IT_IS], Result.SAME, ""),
        ([{"set": {"data.x": 1}}], [AS_IT_IS], Result.DIFFERENT, ""),
        ([{"filter": "n > 1"}], [AS_IT_IS], Result.ONLY_OLD, ""),
        ([], None, Result.ONLY_NEW, ""),
        ([{"map": '$error("no")'}], [AS_IT_IS], Result.FAILED, "steps.0.map: "),
        ([{"map": '$error("no")'}], None, Result.SAME, "steps.0.map: "),
        ([AWAY], [AS_IT_IS], Result.FAILED, "waits: database /absent.db: no such file"),
    ],
    ids=["same", "different", "only old", "only new", "rejected", "both reject", "waits"],
)
def test_each_event_has_a_verdict(
    steps: list[Any], old: list[tuple[bytes, bytes]] | None, result: Result, error: str
) -> None:
    (first, second) = verdicts(given(old), given(old), steps=steps)
    assert first == second
    assert first.result is result
    assert first.error.startswith(error)
