import pytest

from services.cli.check.wiring import faults, warnings
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
        ("order.eu", "found no source 'order.eu'; did you mean 'orders.eu'?"),
        ("zzz", "found no source 'zzz'; expected one of: orders.eu, stock"),
        ("orders", "found no source 'orders'; did you mean 'orders.eu'?"),
        ("stock", "source 'stock' has a channel, so its events go to subscribers directly, not through a pipeline"),
        ("st*", "source 'stock' has a channel, so its events go to subscribers directly, not through a pipeline"),
    ],
)
def test_a_name_that_gives_none_is_named_with_its_place(name: str, said: str) -> None:
    (fault,) = faults(SOURCES, pipelines("orders.eu", name))
    assert str(fault) == f"process.pipelines.p.sources.1: {said}"


def test_sources_in_another_file_are_not_missed() -> None:
    assert faults({}, pipelines("orders")) == []
    assert warnings({}, pipelines("orders")) == []


def made(**options: object) -> dict[str, PipelineOptions]:
    return {"p": PipelineOptions.model_validate({"sources": ["*"], **options})}


def test_a_pipeline_that_leads_nowhere_is_named() -> None:
    said = "process.pipelines.p: found neither a `channel` nor a step `route`"
    (fault,) = faults(SOURCES, made(steps=[{"filter": "a"}]))
    assert str(fault).startswith(said)
    assert warnings(SOURCES, made()) == []
    # Another program that writes to the topic may give its events channels.
    (warning,) = warnings({}, made())
    assert str(warning).startswith(said)
    assert faults({}, made()) == []


@pytest.mark.parametrize("route", ["region", {"by": "region", "table": {"eu": "orders.eu"}}])
def test_a_route_leads_somewhere(route: object) -> None:
    assert faults(SOURCES, made(steps=[{"route": route}])) == []


def test_a_source_without_a_pipeline_is_named() -> None:
    more: dict[str, AnySource] = {**SOURCES, "sensors": FileSourceKind.model_validate(FILE)}
    said = "system.sources.sensors: found no `channel`, and no pipeline that takes its events"
    (fault,) = faults(more, pipelines("orders.*"))
    assert str(fault).startswith(said)
    assert warnings(more, pipelines("orders.*")) == []


def test_a_source_whose_pipelines_may_be_in_another_file_is_a_warning() -> None:
    assert faults(SOURCES, {}) == []
    (warning,) = warnings(SOURCES, {})
    assert str(warning).startswith("system.sources.orders.eu: found no `channel`")
