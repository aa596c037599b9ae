"""The bodies of operators' requests. Sans-I/O."""

import re
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from shared.errors import Malformed

REASON_LIMIT = 500
"""Characters of the reason that an operator gives."""

Body = Mapping[str, Any]

# PostgreSQL stores no text with it.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

_decode = msgspec.json.Decoder().decode


def parse_body(body: bytes, members: Collection[str]) -> Body:
    """Return the JSON object of a body, which may be empty; its members may be `members`.

    Raises:
        Malformed: it is not a JSON object, has another member, or text with a NUL character.
    """
    try:
        found = _decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise Malformed(f"the body is not JSON: {exc}") from exc
    if not isinstance(found, dict):
        raise Malformed("the body: expected a JSON object")
    if unknown := sorted(found.keys() - set(members)):
        raise Malformed(f"found the member {unknown[0]!r}; expected {', '.join(sorted(members)) or 'an empty body'}")
    if _NUL.search(body):
        raise Malformed("the body: found the character U+0000 in a text; expected text without it")
    return found


def parse_reason(body: Body) -> str:
    """Return the reason that an operator gives in the member `reason`; empty without one.

    Raises:
        Malformed: it is not text, too long, or has a NUL character.
    """
    reason = body.get("reason", "")
    if not isinstance(reason, str) or len(reason) > REASON_LIMIT:
        raise Malformed(f"reason: expected text of at most {REASON_LIMIT} characters")
    if "\0" in reason:
        raise Malformed("reason: found the character U+0000; expected text without it")
    return reason
