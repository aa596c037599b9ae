"""The settings of a NATS source."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.system_api.sources.queue.nats.options import NatsSourceOptions


def options(**given: Any) -> NatsSourceOptions:
    return NatsSourceOptions.model_validate({"kind": "nats", "url": "nats://h", "stream": "S", "type": "t", **given})


def test_the_consumer_has_the_name_of_the_source() -> None:
    assert options().durable("shop.orders") == "trelay-shop_orders"
    assert options(consumer="c").durable("orders") == "c"
    assert options().in_words == "JetStream stream 'S'"


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"stream": "a.b"}, "name of a stream"),
        ({"consumer": "a b"}, "name of a consumer"),
        ({"token": "t", "url": "nats://u:p@h"}, "token: "),
        ({"url": "http://h"}, "expected nats://"),
    ],
)
def test_settings_that_do_not_fit_are_refused(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        options(**given)
