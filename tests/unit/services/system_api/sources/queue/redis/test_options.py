"""The settings of a Redis source."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.system_api.sources.queue.redis.options import RedisSourceOptions


def options(**given: Any) -> RedisSourceOptions:
    return RedisSourceOptions.model_validate({"kind": "redis", "url": "redis://h", "stream": "s", "type": "t", **given})


def test_the_parts_of_the_address() -> None:
    given = options(url="rediss://u:p%40@h:1/3")
    assert (given.host, given.port, given.database, given.user, given.secret) == ("h", 1, 3, "u", "p@")
    assert given.secure
    assert (options().port, options().database) == (6379, 0)
    assert options(url="redis://:p@h").secret == "p", "the password of the user default"
    assert options().in_words == "Redis stream 's'"


def test_the_group_has_the_name_of_the_source() -> None:
    assert options().group_of("orders") == "trelay-orders"
    assert options(group="g").group_of("orders") == "g"


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"url": "http://h"}, "expected redis://"),
        ({"url": "redis://h/orders"}, "url: found database 'orders'; expected its number"),
        ({"url": "redis://a,b"}, "several hosts"),
        ({"noack": True}, "noack: NOACK loses"),
        ({"stream": ""}, "at least 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        options(**given)
