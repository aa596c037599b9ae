from typing import NamedTuple

import pytest

from shared.telemetry.parents import sampled_parents

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
OTHER = f"00-{TRACE}-00f067aa0ba902b8-03"


class Valued(NamedTuple):
    value: bytes | None


def event(traceparent: str, before: str = "") -> Valued:
    return Valued(f'{{"id":"1"{before},"traceparent":"{traceparent}","data":1}}'.encode())


def test_events_are_counted_by_the_span_that_they_belong_to() -> None:
    found = sampled_parents([event(PARENT), event(OTHER), event(PARENT)], 10)
    assert found == {PARENT.encode(): 2, OTHER.encode(): 1}


@pytest.mark.parametrize(
    "record",
    [
        Valued(None),
        Valued(b"{}"),
        Valued(b'{"traceparent":"'),
        event(PARENT[:-1] + "0"),
        event(PARENT.replace(TRACE, "0" * 32)),
        event(PARENT.replace("00f067aa0ba902b7", "0" * 16)),
        event(PARENT.upper()),
        event("01" + PARENT[2:]),
        event(PARENT, before=f',"subject":"{"s" * 16_384}"'),
    ],
    ids=["deleted", "absent", "cut", "not sampled", "no trace", "no span", "upper case", "version", "too far back"],
)
def test_an_event_without_a_sampled_span_belongs_to_none(record: Valued) -> None:
    assert not sampled_parents([record], 10)


def test_spans_beyond_the_limit_are_not_counted() -> None:
    found = sampled_parents([event(PARENT), event(OTHER), event(PARENT)], 1)
    assert found == {PARENT.encode(): 2}
