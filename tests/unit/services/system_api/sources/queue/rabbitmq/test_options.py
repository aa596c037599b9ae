"""The settings of a RabbitMQ source."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.system_api.sources.queue.rabbitmq.options import RabbitmqSourceOptions


def options(**given: Any) -> RabbitmqSourceOptions:
    return RabbitmqSourceOptions.model_validate({"kind": "rabbitmq", "url": "amqp://host", "type": "t", **given})


@pytest.mark.parametrize(("path", "host"), [("", "/"), ("/", "/"), ("/orders", "orders"), ("/%2Fa", "/a")])
def test_the_path_is_the_virtual_host(path: str, host: str) -> None:
    assert options(url=f"amqp://host{path}", queue="q").virtual_host == host


def test_a_queue_or_a_stream_in_words() -> None:
    assert options(queue="q").in_words == "RabbitMQ queue 'q'"
    assert options(stream="s").in_words == "RabbitMQ stream 's'"
    assert options(stream="s").target == "s"


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({}, "neither"),
        ({"queue": "q", "stream": "s"}, "both"),
        ({"queue": "q", "start": "latest"}, "start: "),
        ({"stream": "s", "exclusive": False}, "exclusive: "),
        ({"stream": "s", "dedupe_window": 5}, "dedupe_window: "),
        ({"queue": "q", "no_ack": True}, "no_ack: "),
    ],
)
def test_settings_that_do_not_fit_are_refused(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        options(**given)
