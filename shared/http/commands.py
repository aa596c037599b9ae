"""Answers to requests of operators, and the audit log of those that are accepted."""

import logging
from collections.abc import Mapping
from typing import NoReturn

from shared.errors import ProblemError
from shared.http.operators import Operator

logger = logging.getLogger(__name__)

FRESH = {"Cache-Control": "no-store"}
"""The headers of what operators read."""


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
