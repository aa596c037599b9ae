"""The process of functions, without the process."""

import io
import json

from services.process_api.pipeline.steps.python import Function
from services.process_api.pipeline.steps.python_pool.frames import HEAD, Kind, frame
from services.process_api.pipeline.steps.python_pool.worker import main

HERE = "tests.unit.services.process_api.pipeline.steps.functions"


def answers(name: str, *calls: object) -> list[tuple[Kind, bytes]]:
    out = io.BytesIO()
    written = b"".join(frame(Kind.CALL, json.dumps(call).encode()) for call in calls)
    main(Function(f"{HERE}:{name}", {"rate": 2}), io.BytesIO(written), out)
    left, found = out.getvalue(), []
    while left:
        kind, size = HEAD.unpack(left[: HEAD.size])
        found.append((Kind(kind), left[HEAD.size : HEAD.size + size]))
        left = left[HEAD.size + size :]
    return found


def test_it_answers_each_call() -> None:
    event = {"id": "e"}
    for name in ("plainly", "scripted"):
        ready, one, failed, waits = answers(name, [{"n": 1}, event], [{"do": "fail"}, event], [{"do": "wait"}, event])
        assert ready == (Kind.READY, b"")
        assert one[0] is Kind.RETURNED
        assert json.loads(one[1]) == [{"n": 1, "id": "e", "rate": 2}]
        assert failed[0] is Kind.REJECTED
        assert b"raised KeyError: 'missing'" in failed[1]
        assert waits == (Kind.UNAVAILABLE, b"the price list does not answer")


def test_an_event_without_an_entity_is_none() -> None:
    (_, failed) = answers("plainly", [None, {"id": "e"}])
    assert failed[0] is Kind.REJECTED
    assert b"AttributeError" in failed[1]
