"""The process that evaluates expressions, without the process."""

import io
import struct

import pytest

from shared.errors import Malformed
from shared.expression import apart, evaluator, wire
from shared.expression.jsonata import EvaluationTimeout, Jsonata
from shared.expression.wire import Kind


def answers(*requests: wire.Request) -> list[tuple[Kind, bytes]]:
    out = io.BytesIO()
    evaluator.main(io.BytesIO(b"".join(map(wire.request, requests)) + struct.pack("!I", 5)), out)
    left, found = out.getvalue(), []
    while left:
        parsed = wire.parse_response(left)
        assert parsed is not None
        found.append(parsed)
        left = left[wire.RESPONSE_HEAD + len(parsed[1]) :]
    assert found.pop(0) == (Kind.READY, b"")
    return found


def test_it_answers_each_request() -> None:
    assert answers(
        wire.Request(b"a", b'{"a":1}', None),
        wire.Request(b"b", b'{"a":1}', None),
        wire.Request(b"$event.id", None, b'{"id":"x"}'),
        wire.Request(b"a +", None, None),
        wire.Request(b"a + 1", b'{"a":"x"}', None),
    )[:3] == [(Kind.VALUE, b"1"), (Kind.UNDEFINED, b""), (Kind.VALUE, b'"x"')]
    bad, failed = answers(wire.Request(b"a +", None, None), wire.Request(b"a + 1", b'{"a":"x"}', None))
    assert (bad[0], failed[0]) == (Kind.FAILED, Kind.FAILED)
    assert b"does not compile" in bad[1]
    assert b"T2001" in failed[1]


@pytest.mark.parametrize(
    ("error", "kind"),
    [(EvaluationTimeout("x"), Kind.TIMED_OUT), (MemoryError(), Kind.FAILED), (Malformed("x"), Kind.FAILED)],
)
def test_an_error_is_an_answer(monkeypatch: pytest.MonkeyPatch, error: Exception, kind: Kind) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Jsonata, "evaluate", fail)
    assert [each for each, _ in answers(wire.Request(b"a", None, None))] == [kind]


def test_each_request_is_announced_before_its_body_is_read() -> None:
    requests = io.BytesIO(wire.request(wire.Request(b"a", b"{}", None)) * 2)
    read: list[int] = []
    evaluator.main(requests, io.BytesIO(), lambda: read.append(requests.tell()))
    assert read == [wire.REQUEST_HEAD, wire.REQUEST_HEAD + len(requests.getvalue()) // 2]


def test_the_cpu_time_ends_an_evaluation_before_the_clock_does() -> None:
    compiled: dict[bytes, Jsonata] = {}
    evaluator.answer(wire.Request(b"a", b"{}", None), compiled)
    assert compiled[b"a"]._limit >= apart.SECONDS * 1000


def test_few_expressions_stay_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluator, "_COMPILED", 1)
    compiled: dict[bytes, Jsonata] = {}
    for expression in (b"a", b"b", b"b"):
        evaluator.answer(wire.Request(expression, b"{}", None), compiled)
    assert list(compiled) == [b"b"]
