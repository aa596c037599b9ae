"""`GET /sources`: the status of each source, for operators."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

from aiohttp import web

from services.system_api.supervisor.status import UNHEALTHY, SourceStatus
from shared.runtime.clock import Clock, rfc3339

_PARTS = 50
"""Parts of a position in a response: a source may have read thousands of files."""


def add_routes(app: web.Application, statuses: Mapping[str, SourceStatus], clock: Clock) -> None:
    """Add `GET /sources`."""

    async def sources(_request: web.Request) -> web.Response:
        now = clock.time()
        described = {name: describe(status, now) for name, status in statuses.items()}
        return web.json_response(described, headers=_FRESH)

    app.router.add_get("/sources", sources)


_FRESH = {"Cache-Control": "no-store"}


def describe(status: SourceStatus, now: float) -> dict[str, Any]:
    """Return the status of a source as JSON; `now` is in seconds since 1970."""
    behind = None if status.caught_up_at is None else round(now - status.caught_up_at, 3)
    return {
        "state": status.state,
        "since": rfc3339(status.since),
        "polled_at": None if status.polled_at is None else rfc3339(status.polled_at),
        "caught_up_seconds_ago": behind,
        "error": status.error,
        "failures": status.failures,
        "problems": list(status.problems),
        "waiting": list(status.waiting),
        "position": dict(islice(status.position.items(), _PARTS)),
        "parts": len(status.position),
    }


def problem(status: SourceStatus) -> str | None:
    """Return the problem of a source as one line; None if it has none."""
    if status.state in UNHEALTHY:
        return f"{status.state}: {status.error}"
    return "; ".join(status.problems) or None
