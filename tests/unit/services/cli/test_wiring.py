import pytest

from services.cli.wiring import doubts, faults
from services.process_api.pipeline.pipeline import PipelineOptions
from services.system_api.sources.file.opening import FileSourceKind
from services.system_api.sources.registry import AnySource

FILE = {"kind": "file", "path": "a.ndjson", "type": "t", "subject": "id"}
SOURCES: dict[str, AnySource] = {
    "orders.eu": FileSourceKind.model_validate(FILE),
    "stock": FileSourceKind.model_validate(FILE | {"channel": "stock"}),
}


def pipelines(*sources: str) -> dict[str, PipelineOptions]:
    return {"p": PipelineOptions.model_validate({"sources": sources, "channel": "c"})}


@pytest.mark.parametrize("name", ["orders.eu", "orders.*", "*"])
def test_a_name_that_gives_events_is_right(name: str) -> None:
    assert faults(SOURCES, pipelines(name)) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("order.eu", "no source is called 'order.eu'; did you mean 'orders.eu'?"),
        ("zzz", "no source is called 'zzz'; there are: orders.eu, stock"),
        ("orders", "no source is called 'orders'; did you mean 'orders.eu'?"),
        ("stock", "source 'stock' has a channel, so its events go to the subscribers and to no pipeline"),
        ("st*", "source 'stock' has a channel, so its events go to the subscribers and to no pipeline"),
    ],
)
def test_a_name_that_gives_none_is_named_with_its_place(name: str, said: str) -> None:
    (fault,) = faults(SOURCES, pipelines("orders.eu", name))
    assert str(fault) == f"process.pipelines.p.sources.1: {said}"


def test_sources_in_another_file_are_not_missed() -> None:
    assert faults({}, pipelines("orders")) == []
    assert doubts({}, pipelines("orders")) == []


def made(**options: object) -> dict[str, PipelineOptions]:
    return {"p": PipelineOptions.model_validate({"sources": ["*"], **options})}


def test_a_pipeline_that_leads_nowhere_is_named() -> None:
    said = "process.pipelines.p: neither a channel nor a route"
    (fault,) = faults(SOURCES, made(steps=[{"filter": "a"}]))
    assert str(fault).startswith(said)
    assert doubts(SOURCES, made()) == []
    # Whoever else writes to the topic may give his events channels.
    (doubt,) = doubts({}, made())
    assert str(doubt).startswith(said)
    assert faults({}, made()) == []


@pytest.mark.parametrize("route", ["region", {"by": "region", "table": {"eu": "orders.eu"}}])
def test_a_route_leads_somewhere(route: object) -> None:
    assert faults(SOURCES, made(steps=[{"route": route}])) == []


def test_a_source_that_nobody_takes_is_named() -> None:
    more: dict[str, AnySource] = {**SOURCES, "sensors": FileSourceKind.model_validate(FILE)}
    said = "system.sources.sensors: no channel, and no pipeline takes its events"
    (fault,) = faults(more, pipelines("orders.*"))
    assert str(fault).startswith(said)
    assert doubts(more, pipelines("orders.*")) == []


def test_a_source_whose_pipelines_may_be_in_another_file_is_only_doubted() -> None:
    assert faults(SOURCES, {}) == []
    (doubt,) = doubts(SOURCES, {})
    assert str(doubt).startswith("system.sources.orders.eu: no channel")
