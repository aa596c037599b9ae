"""A megabyte of headers, as any stranger may send, takes the event loop no longer than a usual request."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from services.experience_api.auth.credentials import in_subprotocol, read_client, read_token
from services.experience_api.http.upgrade import check_upgrade
from services.experience_api.producers.once.keys import read_key
from services.experience_api.refusals import Refused
from services.experience_api.wire.extensions import negotiate
from shared.http.bodies import encoding_of
from shared.http.origin import Networks, origin
from tests.unit.cpu_time import least_cpu_time

Headers = CIMultiDict[str]
LINES, LENGTH = 120, 8000
"""What aiohttp accepts."""
NETWORKS = Networks(["127.0.0.0/8"])
UPGRADE = {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}


def lines_of(name: str, value: str, first: str = "", **more: str) -> Callable[[], Headers]:
    return lambda: CIMultiDict([*more.items(), *[(name, first + (value * LENGTH)[:LENGTH])] * LINES])


def names_of(part: str) -> Callable[[], Headers]:
    return lambda: CIMultiDict((f"{(part * LENGTH)[:LENGTH]}{number}", "x") for number in range(LINES))


def upgrade(headers: Headers) -> None:
    check_upgrade(make_mocked_request("GET", "/ws/publish", headers=headers))


def extensions(headers: Headers) -> None:
    negotiate(headers.getall("Sec-WebSocket-Extensions"))


def where(headers: Headers) -> None:
    origin("127.0.0.1", headers, NETWORKS)


@pytest.mark.parametrize(
    ("read", "headers"),
    [
        (where, lines_of("X-Forwarded-For", ",")),
        (where, lines_of("X-Forwarded-For", "127.0.0.1,")),
        (where, names_of("a")),
        (where, names_of("-ip")),
        (where, names_of("_client")),
        (upgrade, lines_of("Upgrade", ",")),
        (upgrade, lines_of("Connection", ",", Upgrade="websocket", **UPGRADE)),
        (read_token, lines_of("Sec-WebSocket-Protocol", ",", "cloudevents.json")),
        (read_token, lines_of("Authorization", "a", "Bearer ")),
        (in_subprotocol, lines_of("Sec-WebSocket-Protocol", "a,", "cloudevents.json")),
        (read_client, lines_of("Authorization", "a", "Basic ")),
        (read_client, lines_of("Client-Secret", "a")),
        (read_key, lines_of("Idempotency-Key", "a")),
        (encoding_of, lines_of("Content-Encoding", ",")),
        (encoding_of, lines_of("Content-Encoding", "gzip,")),
        (extensions, lines_of("Sec-WebSocket-Extensions", "a,")),
        (extensions, lines_of("Sec-WebSocket-Extensions", ",")),
    ],
)
def test_long_headers_are_read_or_refused_at_once(
    read: Callable[[Headers], object], headers: Callable[[], Headers]
) -> None:
    """Each takes a millisecond or two of CPU; those that were read to their end took 30 to 400."""
    given = headers()

    def reading() -> None:
        with suppress(Refused):
            read(given)

    assert least_cpu_time(reading, 10) < 0.02
