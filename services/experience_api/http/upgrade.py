"""Checks the opening handshake of a WebSocket (RFC 6455, 4.2.1), before anything is looked up for it."""

import base64
import binascii
from collections.abc import Iterator

from aiohttp import HttpVersion11, web

from services.experience_api.refusals import MALFORMED, UPGRADE_REQUIRED, Refused

_VERSION = "13"
"""RFC 6455; earlier versions were drafts."""
_KEY_BYTES = 16
_TOKENS_LIMIT = 32
"""Words of one header line that are looked at."""


def check_upgrade(request: web.BaseRequest) -> None:
    """Check that a request is an upgrade that can be completed.

    Raises:
        Refused: `UPGRADE_REQUIRED` if it is another request, or one of HTTP/1.0; `MALFORMED` if it is an invalid
            handshake.
    """
    headers = request.headers
    if request.version < HttpVersion11:
        raise Refused(
            UPGRADE_REQUIRED,
            "found HTTP/1.0, which has no upgrade; expected HTTP/1.1 (nginx: proxy_http_version 1.1)",
        )
    if "websocket" not in _tokens(headers.getall("Upgrade", [])):
        raise Refused(
            UPGRADE_REQUIRED, f"{UPGRADE_REQUIRED.title}; a proxy that drops the header 'Upgrade' breaks it as well"
        )
    if headers.get("Sec-WebSocket-Version") != _VERSION:
        raise Refused(UPGRADE_REQUIRED)
    if "upgrade" not in _tokens(headers.getall("Connection", [])):
        raise Refused(MALFORMED, "header 'Connection': expected 'Upgrade' in it")
    keys = headers.getall("Sec-WebSocket-Key", [])
    if len(keys) != 1 or not _valid(keys[0]):
        raise Refused(MALFORMED, f"header 'Sec-WebSocket-Key': expected {_KEY_BYTES} bytes in base64, once")
    if request.protocol._message_tail:  # noqa: SLF001 -- these bytes would pass `ClientFrames` by
        raise Refused(MALFORMED, "the client sent frames before the upgrade was answered")


def _tokens(lines: list[str]) -> Iterator[str]:
    # A stranger may send a megabyte of commas.
    return (token.strip().lower() for line in lines for token in line.split(",", _TOKENS_LIMIT))


def _valid(key: str) -> bool:
    try:
        return len(base64.b64decode(key.strip(), validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        return False
