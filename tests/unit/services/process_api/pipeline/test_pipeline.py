"""A pipeline: the bytes of an event in, of events out."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.process_api.pipeline.pipeline import PipelineOptions
from services.process_api.pipeline.steps.outcome import Rejected
from shared.errors import Unavailable
from shared.events.event import Envelope, wrap
from tests.unit.services.process_api.making import event, pipeline, run, text_of_data

FUNCTIONS = "tests.unit.services.process_api.pipeline.steps.functions"
ORDER = {"id": 7, "amount": 120, "region": "eu", "card": "4111", "lines": [{"n": 1}, {"n": 2}]}
HEAD = Envelope("/sources/orders", "order.updated").head()

# Given this event and these steps, expect these: channel, id, entity.
EXAMPLES: list[tuple[list[Any], list[tuple[str, str, Any]]]] = [
    ([], [("orders", "orders:7", ORDER)]),
    ([{"filter": "amount > 100"}], [("orders", "orders:7", ORDER)]),
    ([{"filter": "amount > 200"}], []),
    ([{"filter": "amount > 200"}, {"map": "missing"}], []),
    ([{"drop": ["data.card", "data.lines"]}, {"set": {"data.ok": True}}],
     [("orders", "orders:7", {"id": 7, "amount": 120, "region": "eu", "ok": True})]),
    ([{"route": "'orders.' & region"}], [("orders.eu", "orders:7", ORDER)]),
    ([{"route": "nothing"}], [("orders", "orders:7", ORDER)]),
    ([{"route": "'a'"}, {"route": "'b'"}, {"route": "nothing"}], [("b", "orders:7", ORDER)]),
    ([{"map": "{'id': id}"}, {"set": {"data.double": "=id * 2"}}], [("orders", "orders:7", {"id": 7, "double": 14})]),
    ([{"python": f"{FUNCTIONS}:lines"}], [("orders", "orders:7/1", {"n": 1}), ("orders", "orders:7/2", {"n": 2})]),
    ([{"python": f"{FUNCTIONS}:lines"}, {"filter": "n > 1"}], [("orders", "orders:7/2", {"n": 2})]),
    ([{"python": f"{FUNCTIONS}:lines"}, {"route": "'n' & n"}],
     [("n1", "orders:7/1", {"n": 1}), ("n2", "orders:7/2", {"n": 2})]),
    ([{"route": "'r.' & region"}, {"python": f"{FUNCTIONS}:lines"}],
     [("r.eu", "orders:7/1", {"n": 1}), ("r.eu", "orders:7/2", {"n": 2})]),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "expected"), EXAMPLES)
def test_examples(steps: list[Any], expected: list[tuple[str, str, Any]]) -> None:
    made = [(each.key.decode(), json.loads(each.value or b"")) for each in run(event(ORDER, zone="x"), *steps)]
    assert [(channel, found["id"], found["data"]) for channel, found in made] == expected
    for channel, found in made:
        assert (found["channel"], found["zone"], found["source"]) == (channel, "x", "/sources/orders")


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([{"filter": "id + 'x' > 1"}], r"^steps\.0\.filter: the expression failed: T2002"),
        ([{"filter": "true"}, {"map": "missing"}], r"^steps\.1\.map: the expression is undefined"),
        ([{"set": {"data.id.x": 1}}], r"^steps\.0\.set: data\.id\.x: 'data\.id' is not an object"),
        ([{"python": f"{FUNCTIONS}:lines"}, {"map": "n = 1 ? 1 : nothing"}], r"^steps\.1\.map: "),
        ([{"validate": {"required": ["none"]}}], r"^steps\.0\.validate: data: "),
        ([{"python": f"{FUNCTIONS}:fail"}], r"^steps\.0\.python: .* raised KeyError: 'missing'"),
    ],
)
def test_an_event_is_rejected_as_a_whole_where_a_step_fails(steps: list[Any], reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        run(event(ORDER), *steps)


def test_an_event_without_a_channel_is_rejected() -> None:
    with pytest.raises(Rejected, match=r"^channel: the event has no channel"):
        run(event(ORDER), channel=None)
    with pytest.raises(Rejected, match="a route is an expression: a constant needs quotes of its own"):
        run(event(ORDER), {"route": "orders.eu"}, channel=None)


def test_an_event_may_have_a_channel_of_its_own() -> None:
    (made,) = run(event(ORDER, channel="own.channel"), channel=None)
    assert made.key == b"own.channel"
    (made,) = run(event(ORDER, channel="own.channel"))
    assert (made.key, json.loads(made.value or b"")["channel"]) == (b"orders", "orders")
    for wrong in ("no channel", 5, ""):
        with pytest.raises(Rejected, match="channel"):
            run(event(ORDER, channel=wrong), channel=None)


def test_a_step_that_waits_is_not_a_rejection() -> None:
    with pytest.raises(Unavailable):
        run(event(ORDER), {"python": f"{FUNCTIONS}:wait"})


def test_a_bug_in_a_step_rejects_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    made = pipeline({"filter": "true"})

    def broken(_draft: object) -> list[Any]:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(made, "_steps", [("steps.0.filter", broken)])
    with pytest.raises(Rejected, match=r"^steps\.0\.filter: ZeroDivisionError: a bug"):
        made.run(event(ORDER))


def spliced(data: bytes) -> bytes:
    return wrap(HEAD, b'"orders:7"', b'"C-1"', b"2026-01-01T00:00:00Z", b"00-1-2-01", data)


def test_only_the_parts_of_a_spliced_event_that_a_step_uses_are_parsed() -> None:
    # This could not be parsed; the system layer never writes it.
    (made,) = pipeline().run(spliced(b"{broken"), spliced=True)
    assert made.value == spliced(b"{broken").replace(b"{", b'{"channel":"orders",', 1)
    with pytest.raises(Rejected, match="event: not a JSON object"):
        pipeline().run(spliced(b"{broken"))
    with pytest.raises(Rejected, match=r"steps\.0\.filter"):
        pipeline({"filter": "a"}).run(spliced(b"{broken"), spliced=True)


def test_a_spliced_event_that_is_not_utf_8_is_rejected() -> None:
    with pytest.raises(Rejected, match="event: not UTF-8"):
        pipeline().run(spliced(b'"\xff"'), spliced=True)


@given(st.binary() | st.binary().map(spliced) | st.binary().map(lambda data: event("x") + data))
@example(b"")
@example(b"[" * 100_000)
@example(b'{"specversion":"1.0"}')
@example(event("x")[:-1])
def test_any_bytes_become_events_or_are_rejected(value: bytes) -> None:
    steps: list[Any] = [
        {"filter": "$event.id"},
        {"set": {"data.a": "=b"}},
        {"drop": "data.c.d"},
        {"map": "$merge([$, {'x': 1}])"},
    ]
    for made in (pipeline(*steps), pipeline(), pipeline({"validate": {}}), pipeline({"python": "copy:copy"})):
        outputs = []
        for is_spliced in (True, False):
            with contextlib.suppress(Rejected):
                outputs += made.run(value, spliced=is_spliced)
        for output in outputs:
            assert output.key == b"orders"
            assert output.value is not None
            output.value.decode()


_numbers = st.integers(-(2**80), 2**80) | st.sampled_from([2**53 + 1, -(2**53) - 1, 2**63, 2**64 + 1])
_STEPS: list[Any] = [
    {"filter": "$exists(keep)"},
    {"filter": "keep > 0 or keep <= 0"},
    {"filter": "$count(other.inner) >= 0"},
    {"set": {"data.new": 1}},
    {"set": {"data.other.new": "=keep"}},
    {"set": {"data.sum": "=$sum(small)"}},
    {"drop": "data.gone"},
    {"drop": "data.other.gone"},
    {"rename": {"data.gone": "data.there"}},
    {"map": "{'keep': keep, 'other': other, 'small': small, 'gone': gone}"},
    {"map": "{'keep': keep, 'other': other, 'count': $count(small)}"},
    {"map": "$"},
    {"route": "'orders.' & $string($count(small))"},
    {"route": {"by": "keep", "table": {"1": "one"}, "default": "many"}},
    {"validate": {"properties": {"keep": {"type": "integer"}}}},
    {"python": f"{FUNCTIONS}:keep"},
]


@given(st.lists(st.sampled_from(_STEPS), max_size=4), _numbers, _numbers, st.lists(st.integers(0, 9), max_size=3))
def test_no_step_ever_alters_a_number(steps: list[Any], keep: int, inner: int, small: list[int]) -> None:
    data = {"keep": keep, "other": {"inner": [inner, {"deep": inner}], "gone": keep}, "small": small, "gone": inner}
    try:
        made = run(event(data), *steps)
    except Rejected as exc:
        assert "would alter" in str(exc) or "is undefined for this event" in str(exc)  # noqa: PT017 -- either is right
        return
    for output in made:
        value = output.value or b""
        found = json.loads(value)["data"]
        assert found["keep"] == keep
        assert found["other"]["inner"] == [inner, {"deep": inner}]
        assert found.get("gone", inner) == found.get("there", inner) == inner
        assert str(keep) in text_of_data(value)


class TestOptions:
    def read(self, **options: Any) -> PipelineOptions:
        return PipelineOptions.model_validate({"sources": ["orders"], **options})

    def test_the_version_follows_the_settings(self) -> None:
        one, other = self.read(channel="a"), self.read(channel="b")
        assert one.version == self.read(channel="a").version != other.version
        assert self.read(steps=[{"filter": "a"}]).version != self.read(steps=[{"filter": "b"}]).version
        assert self.read(steps=[{"validate": {"a": 1}}]).version != self.read(steps=[{"validate": {"a": 2}}]).version
        assert len(one.version) == 8

    def test_the_label_is_the_name_and_the_version(self) -> None:
        made = pipeline(name="orders")
        assert made.label == f"orders@{PipelineOptions(sources=['*'], channel='orders').version}"

    def test_its_steps_have_places(self) -> None:
        assert pipeline({"filter": "a"}, {"drop": "data.b"}).places == ["steps.0.filter", "steps.1.drop"]

    @pytest.mark.parametrize(
        "options", [{"sources": []}, {"sources": [""]}, {"channel": "a b"}, {"steps": [{}]}, {"x": 1}]
    )
    def test_malformed_settings_are_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            self.read(**options)


def test_each_finished_step_is_reported() -> None:
    finished: list[str] = []
    pipeline({"filter": "true"}, {"map": "1"}).run(event(ORDER), on_step=finished.append)
    assert finished == ["steps.0.filter", "steps.1.map"]
