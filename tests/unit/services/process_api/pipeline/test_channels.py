"""The channels on which the events of a pipeline can be."""

from typing import Any

import pytest

from tests.unit.services.process_api.making import pipeline

TABLE = {"route": {"by": "n", "table": {"1": "orders.eu", "2": "orders.us"}, "default": "orders.other"}}


@pytest.mark.parametrize(
    ("channel", "steps", "expected"),
    [
        ("orders", [], {"orders"}),
        ("orders", [TABLE], {"orders", "orders.eu", "orders.us", "orders.other"}),
        (None, [TABLE], {"orders.eu", "orders.us", "orders.other"}),
        (None, [{"route": {"by": "n", "table": {"1": "orders.eu"}}}], {"orders.eu"}),
        ("orders", [{"emit": ["a", "b"]}], {"orders", "a", "b"}),
        ("orders", [{"emit": ["a", "=n"]}], None),
        ("orders", [{"route": "n"}], None),
        (None, [{"filter": "n > 1"}], None),
        ("orders", [{"branch": {"cases": [{"when": "n = 1", "steps": [{"route": "n"}]}]}}], None),
    ],
)
def test_the_channels_of_a_pipeline(channel: str | None, steps: list[Any], expected: set[str] | None) -> None:
    assert pipeline(*steps, channel=channel).channels == expected
