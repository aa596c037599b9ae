"""Which pipelines take the events of a source."""

from typing import Any

import pytest

from services.process_api.pipeline.part import Part
from services.process_api.pipeline.pipeline import Pipeline, PipelineOptions
from services.process_api.pipeline.selection import Selection
from tests.unit.services.process_api.making import pipeline


@pytest.mark.parametrize(
    ("sources", "source", "taken"),
    [
        (["orders"], "orders", True),
        (["orders"], "orders-eu", False),
        (["orders"], "my-orders", False),
        (["customers", "orders"], "orders", True),
        (["orders-*"], "orders-eu", True),
        (["orders-*"], "orders", False),
        (["*"], "anything", True),
        (["*"], "", True),
        (["a.c"], "abc", False),
        (["[ab]"], "a", False),
    ],
)
def test_a_source_set(sources: list[str], source: str, taken: object) -> None:
    assert (len(Selection([(sources, pipeline())]).of(source.encode())) == 1) is taken


def test_a_source_has_all_pipelines_that_take_it_in_order() -> None:
    made = [pipeline(name=name) for name in ("b", "a", "c")]
    selection = Selection([(["*"], made[0]), (["orders"], made[1]), (["customers"], made[2])])
    assert [each.name for each in selection.of(b"orders")] == ["b", "a"]
    assert selection.pipelines == made


def test_the_cache_of_unknown_sources_is_bounded() -> None:
    selection = Selection([(["orders"], pipeline())])
    for number in range(10_500):
        assert selection.of(b"unknown-%d" % number) == ()
    assert len(selection._found) <= 10_000


async def test_closing_closes_each_pipeline() -> None:
    closed: list[str] = []

    class Closing(Pipeline):
        async def close(self) -> None:
            closed.append(self.name)

    options = PipelineOptions(sources=["*"])
    await Selection([(["a"], Closing("a", options)), (["b"], Closing("b", options))]).close()
    assert closed == ["a", "b"]


def test_it_says_when_no_batch_uses_it_any_more() -> None:
    selection = Selection([(["*"], pipeline())])
    unused: list[str] = []
    with selection.used():
        with selection.used():
            selection.when_unused(lambda: unused.append("first"))
        assert unused == []
    assert unused == ["first"]
    selection.when_unused(lambda: unused.append("at once"))
    assert unused == ["first", "at once"]


async def test_each_pipeline_is_closed_whatever_the_others_raise() -> None:
    closed: list[str] = []

    class Failing(Pipeline):
        async def close(self) -> None:
            closed.append(self.name)
            raise OSError("no")

    options = PipelineOptions(sources=["*"])
    with pytest.raises(OSError, match="no"):
        await Selection([(["a"], Failing("a", options)), (["b"], Failing("b", options))]).close()
    assert closed == ["a", "b"]


def test_a_part_that_a_reload_removed_is_not_waited_for() -> None:
    parts = {number: Part("totals", number) for number in (1, 2)}

    def loaded(*steps: Any, before: Selection | None = None) -> Selection:
        made = Selection([(["*"], pipeline(*steps, name="totals"))], lambda: 1_000.0)
        if before is not None:
            made.replace(before)
        return made

    first = loaded()
    divided = loaded({"repartition": "a"}, before=first)
    removed = loaded(before=divided)
    later = loaded({"filter": "a"}, before=removed)
    assert [first.may_load(part, 990_000) for part in parts.values()] == [True, True]
    for selection in (removed, later):
        assert not selection.may_load(parts[1], 990_000)
        assert selection.may_load(parts[2], 990_000)
        assert selection.may_load(Part("new", 1), 990_000)
    assert not Selection([]).may_load(parts[1], 990_000), "it knows no time"
