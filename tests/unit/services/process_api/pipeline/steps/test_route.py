"""`route`."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.process_api.pipeline.steps.route import RouteOptions
from shared.errors import Malformed
from tests.unit.services.process_api.making import apply, draft

TABLE = {"by": "region", "table": {"eu": "orders.eu", "us": "orders.us", "5": "orders.five", "true": "orders.yes"}}


@pytest.mark.parametrize(
    ("route", "data", "channel"),
    [
        ("'orders.' & region", {"region": "eu"}, "orders.eu"),
        ("'orders.' & $lowercase(region)", {"region": "EU"}, "orders.eu"),
        ("amount > 100 ? 'large' : 'small'", {"amount": 120}, "large"),
        ("region", {"region": "eu.west"}, "eu.west"),
        ("region", {}, None),
        ("$event.type", {}, "order.updated"),
        (TABLE, {"region": "eu"}, "orders.eu"),
        (TABLE, {"region": 5}, "orders.five"),
        (TABLE, {"region": True}, "orders.yes"),
        ({**TABLE, "default": "orders.other"}, {"region": "x"}, "orders.other"),
        ({**TABLE, "default": "orders.other"}, {"region": None}, "orders.other"),
        ({**TABLE, "default": "orders.other"}, {}, "orders.other"),
    ],
)
def test_channels(route: Any, data: Any, channel: str | None) -> None:
    (made,) = apply({"route": route}, draft(data))
    assert made.channel == channel
    assert not made.changed


@pytest.mark.parametrize(
    ("route", "data", "reason"),
    [
        ("region", {"region": 5}, "gives 5, expected text"),
        ("region", {"region": "not a channel"}, "channel 'not a channel': expected dotted words"),
        ("region", {"region": ""}, "expected dotted words"),
        (TABLE, {"region": "asia"}, 'region is "asia", which is not in the table, and there is no default'),
        (TABLE, {}, "region is undefined, which"),
        (TABLE, {"region": {"a": 1}}, "which is not in the table"),
    ],
)
def test_a_value_that_is_not_a_channel_is_refused(route: Any, data: Any, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        apply({"route": route}, draft(data))


@pytest.mark.parametrize(
    "route",
    [
        "a +",
        {"by": "region"},
        {"by": "a +", "table": {"a": "b"}},
        {"by": "a", "table": {}},
        {"by": "a", "table": {"a": "b c"}},
        5,
    ],
)
def test_malformed_routes_are_refused_when_settings_are_read(route: Any) -> None:
    with pytest.raises(ValidationError):
        RouteOptions(route=route)
