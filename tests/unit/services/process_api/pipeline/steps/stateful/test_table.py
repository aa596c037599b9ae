"""The latest value of another source, by key."""

from typing import Any

import pytest

from shared.errors import Malformed
from tests.unit.services.process_api.pipeline.steps.stateful.stepping import Stepping, data_of


def table(**more: Any) -> Any:
    return {"table": {"of": "customers", "into": "data.customer", **more}}


def row(bench: Stepping, data: Any, **more: Any) -> None:
    assert bench.send(data, source="/sources/customers", **more) == []


def test_an_event_gets_the_latest_row_of_its_subject() -> None:
    bench = Stepping(table())
    row(bench, {"name": "Ada", "big": 12345678901234567890})
    row(bench, {"name": "Bob"}, subject="C-2")
    assert data_of(bench.send({"id": 1})) == [{"id": 1, "customer": {"name": "Ada", "big": 12345678901234567890}}]
    row(bench, {"name": "Eve"})
    bench.begin()
    assert data_of(bench.send({"id": 1})) == [{"id": 1, "customer": {"name": "Eve"}}]
    assert data_of(bench.send({"id": 1}, subject="C-2")) == [{"id": 1, "customer": {"name": "Bob"}}]


def test_rows_are_divided_by_expressions() -> None:
    bench = Stepping(table(by="region"))
    row(bench, {"region": "eu", "name": "Ada"})
    assert data_of(bench.send({"region": "us"})) == [{"region": "us"}]
    assert data_of(bench.send({"region": "eu"}))[0]["customer"]["name"] == "Ada"


def test_a_row_is_deleted() -> None:
    bench = Stepping(table(deleted='$event.type = "gone"'))
    for deletion in ({"data": None}, {"data": {"name": "x"}, "type": "gone"}):
        row(bench, {"name": "Ada"})
        row(bench, deletion["data"], **({"type": "gone"} if "type" in deletion else {}))
        assert data_of(bench.send({"id": 1})) == [{"id": 1}]
    assert bench.stored() == 0


def test_content_other_than_json_is_no_row_and_deletes_none() -> None:
    bench = Stepping(table())
    row(bench, {"name": "Ada"})
    with pytest.raises(Malformed, match="the event's data is not JSON"):
        bench.send(data_base64="AAE=", source="/sources/customers")
    assert data_of(bench.send({"id": 1})) == [{"id": 1, "customer": {"name": "Ada"}}]


def test_an_event_without_a_row() -> None:
    assert data_of(Stepping(table()).send({"id": 1})) == [{"id": 1}]
    assert Stepping(table(missing="drop")).send({"id": 1}) == []
    with pytest.raises(Malformed, match="no row of customers for this event"):
        Stepping(table(missing="reject")).send({"id": 1})
