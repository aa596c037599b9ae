"""The settings of an SQS source."""

from typing import Any

import pytest
from pydantic import ValidationError

from services.system_api.sources.queue.sqs.options import SqsSourceOptions

URL = "https://sqs.eu-central-1.amazonaws.com/123456789012/orders.fifo"


def options(**given: Any) -> SqsSourceOptions:
    return SqsSourceOptions.model_validate({"kind": "sqs", "url": URL, "type": "t", **given})


def test_the_url_names_the_queue() -> None:
    given = options()
    assert (given.name, given.region_name) == ("orders.fifo", "eu-central-1")
    assert given.endpoint == "https://sqs.eu-central-1.amazonaws.com"
    assert given.in_words == "SQS queue 'orders.fifo'"


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("sqs.eu-central-1.amazonaws.com", "eu-central-1"),
        ("us-east-1.queue.amazonaws.com", "us-east-1"),
        ("vpce-0a1b-2c3d.sqs.eu-west-1.vpce.amazonaws.com", "eu-west-1"),
        ("sqs-fips.us-east-1.amazonaws.com", "us-east-1"),
        ("sqs.us-east-1.api.aws", "us-east-1"),
        ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
    ],
)
def test_a_host_of_amazon_names_the_region_and_may_have_a_private_address(host: str, region: str) -> None:
    given = options(url=f"https://{host}/1/q")
    assert given.region_name == region
    assert given.rules().refusal(host, "10.1.2.3") is None
    assert given.rules().refusal(host, "169.254.169.254")


def test_a_server_of_ones_own_has_an_address_that_is_allowed() -> None:
    given = options(url="https://sqs.example.com/queue/q", region="local", tls={"ca_file": "/ca.pem"})
    assert given.region_name == "local"
    assert given.rules().refusal("sqs.example.com", "10.1.2.3") == "a private address"
    # A name that only looks like Amazon's.
    url = "https://sqs.eu-central-1.amazonaws.com.example.com/1/q"
    assert options(url=url, region="r").rules().refusal("", "10.1.2.3")


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"url": "https://sqs.example.com/1/q"}, "region: the host of `url` does not name it"),
        ({"url": "http://127.0.0.1:9324/queue/q", "region": "r"}, "url: 127.0.0.1 is a loopback address"),
        ({"url": "http://169.254.169.254/queue/q", "region": "r"}, "url: 169.254.169.254 is a cloud metadata address"),
        ({"url": "sqs://q"}, "the URL of a queue, such as https://sqs.eu-central-1.amazonaws.com/123456789012/orders"),
        ({"url": "arn:aws:sqs:eu-central-1:123456789012:q"}, "the URL of a queue"),
        ({"url": "https://host"}, "url"),
        ({"access_key_id": "k"}, "access_key_id: needs `secret_access_key`"),
        ({"session_token": "t"}, "session_token: needs `access_key_id`"),
        ({"url": "http://sqs.example.com/1/q", "region": "r", "tls": {}}, "tls: the scheme http:// does not use it"),
        ({"visibility_timeout": 1}, "visibility_timeout"),
    ],
    ids=range(10),
)
def test_settings_that_do_not_fit_are_refused(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        options(**given)
