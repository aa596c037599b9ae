"""Faults of pipelines are found before they run, with their places."""

from typing import Any

import pytest

from services.process_api.pipeline.check import build, faults
from services.process_api.pipeline.pipeline import PipelineOptions
from shared.errors import SettingsError


def options(*steps: Any) -> PipelineOptions:
    return PipelineOptions.model_validate({"sources": ["orders"], "channel": "orders", "steps": list(steps)})


def test_valid_pipelines_have_no_faults() -> None:
    assert faults({}) == []
    assert faults({"orders": options({"filter": "a > 1"}, {"map": "$number(a)"}, {"python": "copy:copy"})}) == []


def test_every_fault_has_its_place() -> None:
    endless = "($f := function(){$f()}; $f())"
    found = faults(
        {
            "orders": options({"filter": "a"}, {"filter": endless}, {"python": "nowhere:f"}),
            "stock": options({"set": {"data.a": f"={endless}"}}, {"python": "copy:nothing"}),
        }
    )
    assert [str(fault).partition(": ")[0] for fault in found] == [
        "process.pipelines.orders.steps.1",
        "process.pipelines.orders.steps.2",
        "process.pipelines.stock.steps.0",
        "process.pipelines.stock.steps.1",
    ]
    assert "D1012" in found[0].sentence
    assert "ModuleNotFoundError" in found[1].sentence


def test_pipelines_are_built() -> None:
    selection = build({"a": options(), "b": options({"filter": "x"})})
    assert [made.name for made in selection.of(b"orders")] == ["a", "b"]
    with pytest.raises(SettingsError, match=r"^process\.pipelines\.orders: nowhere:f cannot be imported"):
        build({"orders": options({"python": "nowhere:f"})})
