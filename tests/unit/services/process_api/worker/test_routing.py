"""Which pipelines a record goes through. `test_batch.py` has the forms of headers."""

import dataclasses
from typing import Any

import pytest

from services.process_api.operations.gate import NotLoaded
from services.process_api.pipeline.part import PART, Part
from services.process_api.pipeline.selection import Selection
from services.process_api.worker.poison import PoisonTracker
from services.process_api.worker.routing import Refused, Router, id_of, source_of
from shared.events.dead_letter import REPLAY, Replay
from shared.events.headers import CONTENT_TYPE, PROVENANCE, headers_of
from tests.unit.services.process_api.making import event, pipeline, record, selection


def test_a_record_of_the_system_layer_is_routed_by_its_provenance_alone() -> None:
    made = pipeline()
    router = Router(selection(made), PoisonTracker())
    routed = router.route(record(b"not looked at"))
    assert not isinstance(routed, Refused)
    assert routed == (b"orders 1700000000000 orders:7", headers_of(b"orders 1700000000000 orders:7"), True, None, None)
    assert list(router.pipelines(routed)) == [made]
    assert source_of(routed) == b"orders"


def test_the_provenance_of_another_program_is_made_from_its_event() -> None:
    router = Router(selection(pipeline()), PoisonTracker())
    routed = router.route(record(event(1), source=None))
    assert routed[:1] == (b"orders 1700000000001 orders:7",)
    assert router.route(record(b"x", source=None)) == Refused(
        "event: not a JSON object: JSON is malformed: invalid character (byte 0)", None, attempted=True
    )


def test_a_replayed_record_goes_to_the_pipeline_that_refused_it() -> None:
    names = ("one", "two")
    router = Router(selection(*(pipeline(name=name) for name in names)), PoisonTracker())

    def taken_by(wanted: str) -> list[str]:
        plain = record(event(1))
        replay = Replay("0-3", 1, wanted)
        routed = router.route(dataclasses.replace(plain, headers=(*plain.headers, *replay.headers())))
        assert not isinstance(routed, Refused)
        assert routed[2:] == (True, replay, None)
        return [each.name for each in router.pipelines(routed)]

    assert taken_by("two@3f2a") == ["two"]
    assert taken_by("gone@3f2a") == []
    assert taken_by("") == ["one", "two"]


def test_a_record_of_a_later_part_goes_to_its_pipeline_alone() -> None:
    divided = pipeline({"repartition": "a"}, name="two")
    router = Router(selection(pipeline(name="one"), divided), PoisonTracker())

    def taken_by(part: Part) -> list[str]:
        plain = record(event(1))
        routed = router.route(dataclasses.replace(plain, headers=(*plain.headers, part.header())))
        assert not isinstance(routed, Refused)
        assert routed[4] == part
        return [each.name for each in router.pipelines(routed)]

    assert taken_by(Part("two", 1)) == ["two"]
    assert taken_by(Part("two", 2)) == []
    assert taken_by(Part("one", 1)) == []


def test_a_record_of_a_part_that_is_not_loaded_waits_for_a_while() -> None:
    now = 1_000.0
    loading = Selection([(["*"], pipeline(name="one"))], lambda: now)
    router = Router(loading, PoisonTracker())
    routed = (b"orders 1 a", (), True, None, Part("one", 1))
    with pytest.raises(NotLoaded, match="this replica has not loaded part 2 of the pipeline 'one' yet") as waits:
        router.pipelines(routed, 881_000)
    assert (waits.value.pipeline, waits.value.place) == ("one", "repartition")
    assert router.pipelines(routed, 880_000) == [], "it is too old"
    replayed = (b"orders 1 a", (), True, Replay("0-3", 1, "one"), Part("one", 1))
    assert router.pipelines(replayed, 999_000) == [], "an operator has seen to it"
    assert router.pipelines((b"orders 1 a", (), True, None, Part("", 0)), 999_000) == [], "it cannot be read"


def test_poison_is_not_run() -> None:
    poison = PoisonTracker()
    poison.isolate(3, 3, "too large")
    refused = Router(selection(pipeline()), poison).route(record(event(1), 3))
    assert refused == Refused("too large", b"orders 1700000000000 orders:7", attempted=False)
    assert not isinstance(Router(selection(pipeline()), poison).route(record(event(1), 2)), Refused)


def test_an_id_is_found_where_there_is_one() -> None:
    assert id_of(b"orders 1 x") == "x"
    assert id_of(None) is None
    assert id_of(b"orders") is None


@pytest.mark.parametrize(
    "headers",
    [
        (CONTENT_TYPE, (PROVENANCE, None)),
        (CONTENT_TYPE, (PROVENANCE, b"orders 1 x"), (REPLAY, None)),
        ((PROVENANCE, None), (REPLAY, None)),
    ],
)
def test_a_header_without_a_value_counts_as_absent(headers: Any) -> None:
    routed = Router(selection(pipeline()), PoisonTracker()).route(
        dataclasses.replace(record(event(1)), headers=headers)
    )
    assert not isinstance(routed, Refused)
    assert source_of(routed) == b"orders"
    assert routed[3:] == (None, None)


def test_a_part_without_a_value_goes_on_in_no_pipeline() -> None:
    headers: Any = (CONTENT_TYPE, (PROVENANCE, b"orders 1 x"), (PART, None))
    routed = Router(selection(pipeline()), PoisonTracker()).route(
        dataclasses.replace(record(event(1)), headers=headers)
    )
    assert not isinstance(routed, Refused)
    assert routed[4] == Part("", 0)
