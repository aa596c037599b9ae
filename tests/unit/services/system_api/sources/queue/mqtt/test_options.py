"""The settings of an MQTT source."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.system_api.sources.queue.mqtt.options import MqttSourceOptions


def options(**given: Any) -> MqttSourceOptions:
    return MqttSourceOptions.model_validate(
        {"kind": "mqtt", "url": "mqtt://h", "topics": ["a/#"], "type": "t", **given}
    )


def test_a_shared_subscription_has_the_name_of_its_group() -> None:
    assert options().filters == ["a/#"]
    assert options(share="g").filters == ["$share/g/a/#"]


def test_the_session_has_the_name_of_the_source() -> None:
    assert options().session("orders") == "trelay-orders"
    assert options(client_id="c").session("orders") == "c"
    assert (options().port, options(url="mqtts://h").port, options().in_words) == (1883, 8883, "MQTT topics")


@pytest.mark.parametrize("topic", ["#", "+", "a/+/b", "/a", "a//b", "$SYS/#", "ä/b"])
def test_topic_filters(topic: str) -> None:
    assert options(topics=[topic]).topics == (topic,)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"topics": []}, "at least 1"),
        ({"topics": ["a#"]}, "a topic filter"),
        ({"topics": ["a/#/b"]}, "a topic filter"),
        ({"topics": ["a+/b"]}, "a topic filter"),
        ({"topics": ["$share/g/a"]}, "set `share` to the name of the group"),
        ({"share": "a/b"}, "a name without"),
        ({"clean_start": True}, "clean_start: a clean start discards"),
        ({"url": "tcp://h"}, "expected mqtt://"),
    ],
)
def test_settings_that_do_not_fit_are_refused(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        options(**given)
