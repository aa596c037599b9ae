"""Where a request continues, as an opaque text that belongs to the request it was made for. No I/O."""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from services.process_api.dead_letters.places import Place
from shared.errors import Malformed

_LIMIT = 4096
_DIGEST = 12


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """A place in a scan, and the scan that it belongs to."""

    epoch: str
    """The id of the dead-letter topic."""
    request: str
    """The digest of the request."""
    at: tuple[int, int] | None = None
    """Where to continue, by the rules of `windows`; None at the beginning."""
    ends: dict[int, int] = {}
    """The end of each partition when the scan began: later letters are not part of it."""
    operation: str = ""
    """Of a replay or drop: its id, and when it began in milliseconds since 1970. What continues has the same ones, so
    that it can tell its own decisions from those of others."""
    began: int = 0

    @property
    def place(self) -> Place | None:
        """The place."""
        return None if self.at is None else Place(*self.at)

    def encode(self) -> str:
        """Return the text."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")


_decode = msgspec.json.Decoder(Cursor).decode


def digest(request: Mapping[str, Any]) -> str:
    """Return what tells requests apart: two that ask for the same have the same."""
    written = json.dumps(request, sort_keys=True, default=str)
    return hashlib.sha256(written.encode(errors="surrogatepass")).hexdigest()[:_DIGEST]


def parse_cursor(given: object, epoch: str, request: str) -> Cursor:
    """Return the cursor that a text stands for.

    Raises:
        Malformed: it is none, or one of another request, or of a topic that exists no more.
    """
    if not isinstance(given, str) or len(given) > _LIMIT:
        raise Malformed("cursor: expected the text that an earlier answer has as `cursor` or `snapshot`")
    try:
        found = _decode(base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)))
    except (binascii.Error, msgspec.DecodeError, ValueError) as exc:
        raise Malformed(f"cursor: found {given[:40]!r}, which was cut short or altered; begin without one") from exc
    if found.request != request:
        raise Malformed("cursor: it belongs to a request with other members; repeat all but `cursor` and `dry_run`")
    if found.epoch != epoch:
        raise Malformed("cursor: the dead-letter topic was created anew since; begin without a cursor")
    return found
