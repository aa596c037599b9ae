"""What operators see of the sources."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

from aiohttp import web

from services.system_api.supervisor.status import Condition, State
from shared.runtime.clock import Clock, rfc3339

_PARTS = 50
"""Parts of a position that are shown: a source may have read thousands of files."""


def add_routes(app: web.Application, conditions: Mapping[str, Condition], clock: Clock) -> None:
    """Add `GET /sources`."""

    async def sources(_request: web.Request) -> web.Response:
        now = clock.time()
        described = {name: describe(condition, now) for name, condition in conditions.items()}
        return web.json_response(described, headers=_FRESH)

    app.router.add_get("/sources", sources)


_FRESH = {"Cache-Control": "no-store"}


def describe(condition: Condition, now: float) -> dict[str, Any]:
    """Return what is known of a source, as JSON; `now` is in seconds since 1970."""
    behind = None if condition.caught_up_at is None else round(now - condition.caught_up_at, 3)
    return {
        "state": condition.state,
        "since": rfc3339(condition.since),
        "polled_at": None if condition.polled_at is None else rfc3339(condition.polled_at),
        "caught_up_seconds_ago": behind,
        "error": condition.error,
        "failures": condition.failures,
        "problem": list(condition.partly),
        "position": dict(islice(condition.position.items(), _PARTS)),
        "parts": len(condition.position),
    }


def problem(condition: Condition) -> str | None:
    """Return what is wrong with a source in one line, None if nothing."""
    if condition.state in _WRONG:
        return f"{condition.state}: {condition.error}"
    return "; ".join(condition.partly) or None


_WRONG = {State.BLOCKED, State.RETRYING, State.DOWN, State.FAULTY}
