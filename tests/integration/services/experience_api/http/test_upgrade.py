"""The opening handshake, as bytes."""

import json
from urllib.parse import urlsplit

import pytest

from tests.integration.services.experience_api.http.raw import answer
from tests.integration.services.experience_api.replicas import Replica
from tests.unit.services.experience_api.wire.masked import masked

LINES = (
    "Host: {host}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {token}\r\n\r\n"
)


@pytest.mark.parametrize(
    ("first", "change", "after", "status", "code"),
    [
        ("GET /ws/publish HTTP/1.1", ("", ""), b"", 101, None),
        ("GET /ws/publish HTTP/1.0", ("", ""), b"", 426, "upgrade-required"),
        ("GET /ws/publish HTTP/1.1", ("Upgrade: websocket\r\n", ""), b"", 426, "upgrade-required"),
        ("GET /ws/publish HTTP/1.1", ("Version: 13", "Version: 8"), b"", 426, "upgrade-required"),
        ("GET /ws/publish HTTP/1.1", ("keep-alive, Upgrade", "keep-alive"), b"", 400, "malformed"),
        ("GET /ws/publish HTTP/1.1", ("dGhlIHNhbXBsZSBub25jZQ==", "short"), b"", 400, "malformed"),
        ("GET /ws/publish HTTP/1.1", ("dGhlIHNhbXBsZSBub25jZQ==", "\u00e9"), b"", 400, "malformed"),
        ("GET /ws/publish HTTP/1.1", ("", ""), masked(0x81, b"early"), 400, "malformed"),
    ],
)
async def test_only_a_whole_handshake_is_upgraded(
    replica: Replica, first: str, change: tuple[str, str], after: bytes, status: int, code: str | None
) -> None:
    lines = LINES.replace(*change) if change[0] else LINES
    request = f"{first}\r\n{lines}".format(host=urlsplit(replica.url).netloc, token=await replica.register())
    found, _, body = await answer(replica, request.encode() + after)
    problem = json.loads(body or b"{}")
    assert (found, problem.get("code")) == (status, code), problem
