"""What every client library makes of what a program gives it."""

import json

import pytest

from tests.integration.clients.scenarios.programs import Start, served
from tests.integration.services.experience_api.replicas import Deployment

pytestmark = pytest.mark.timeout(900)  # the first one installs and builds the JavaScript client


@pytest.mark.parametrize("given", [{"clientSecret": "demo\n"}, {"token": "demo\n"}], ids=["secret", "token"])
async def test_credentials_with_the_line_feed_of_a_file_stop_it(
    deployment: Deployment, start: Start, given: dict[str, str]
) -> None:
    async with served(deployment) as (_, line), start(url=line.url, **given) as program:
        assert "control character" in (await program.until("error"))["error"]
        assert program.said("retry") == []
        assert line.registrations == 0


async def test_only_events_that_pass_a_filter_arrive(deployment: Deployment, start: Start) -> None:
    given = {"channels": ["orders"], "filters": {"orders": "$event.subject = 'even'"}}
    async with served(deployment) as (replica, line), start(url=line.url, **given) as program:
        assert (await program.until_control("trelay.connected"))["filters"] == given["filters"]
        for number in range(4):
            subject = "odd" if number % 2 else "even"
            event = {"specversion": "1.0", "id": f"{number}", "source": "/test", "type": "t", "channel": "orders"}
            body = json.dumps({**event, "subject": subject, "data": {"number": number}}).encode()
            kind = {"Content-Type": "application/cloudevents+json"}
            assert (await replica.request("POST", "/entity", kind, body)).status == 202
            if number == 1:
                assert await program.numbers(1) == [0]
                line.cut()
        assert await program.numbers(1) == [2]
