"""Requests of operators: their bodies, and the audit log of those that are accepted."""

import json
import logging
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

from shared.errors import Malformed, ProblemError
from shared.http.operators import Operator

logger = logging.getLogger(__name__)

FRESH = {"Cache-Control": "no-store"}
"""The headers of what operators read."""

Body = Mapping[str, Any]


def parse_body(body: bytes, members: Collection[str]) -> Body:
    """Return the JSON object of a body, which may be empty; its members may be `members`.

    Raises:
        Malformed: it is not a JSON object, or has another member.
    """
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError) as exc:
        raise Malformed(f"the body is not JSON: {exc}") from exc
    if not isinstance(found, dict):
        raise Malformed("the body: expected a JSON object")
    if unknown := sorted(found.keys() - set(members)):
        raise Malformed(f"found the member {unknown[0]!r}; expected {', '.join(sorted(members)) or 'an empty body'}")
    return found


def audit(command: str, operator: Operator, **fields: object) -> None:
    """Log a request that was accepted, with the fields that are not empty."""
    known = {"component": "operators", "command": command, "operator": operator.name, "address": operator.address}
    more = {name: value for name, value in fields.items() if value}
    logger.warning("operator request accepted", extra=known | more)


def refuse(status: int, detail: str, headers: Mapping[str, str] | None = None) -> NoReturn:
    """Answer with a problem: 404 for what is not there, 409 for what cannot be done now, 503 for what does not answer.

    Raises:
        ProblemError: always.
    """
    raise ProblemError(detail, status=status, detail=detail, headers=dict(headers or {}), members={})
