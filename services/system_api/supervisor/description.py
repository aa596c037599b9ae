"""The status of a source as JSON: as its owner publishes it, and as one line for `/readyz`. No I/O."""

from datetime import datetime
from itertools import islice
from typing import Any

from services.system_api.operations.rewinding import SHOWN_PARTS
from services.system_api.supervisor.status import UNHEALTHY, SourceStatus, State
from shared.runtime.clock import rfc3339


def describe(status: SourceStatus, now: float) -> dict[str, Any]:
    """Return the status as JSON; `now` is in seconds since 1970. What depends on it is in `with_age`."""
    published, rejected = status.per_second
    described = {
        "state": status.state,
        "since": rfc3339(status.since),
        "polled_at": _time(status.polled_at),
        "caught_up_at": _time(status.caught_up_at),
        "error": status.error,
        "failures": status.failures,
        "outage_since": _time(status.outage_since),
        "problems": list(status.problems),
        "reported": status.reported,
        "waiting": list(status.waiting),
        "counts": {
            "rows": status.own.rows,
            "published": status.own.published,
            "rejected": status.own.rejected,
            "skipped": status.own.skipped,
            "unaccounted": status.own.unaccounted,
            "redelivered": status.own.redelivered,
            "parked": status.own.parked,
        },
        "published_per_second": published,
        "rejected_per_second": rejected,
        "position": dict(islice(status.position.items(), SHOWN_PARTS)),
        "parts": len(status.position),
    }
    return with_age(described, now)


def with_age(described: dict[str, Any], now: float) -> dict[str, Any]:
    """Return a description with how long ago the source was caught up: everything older is published."""
    text = described["caught_up_at"]
    ago = None if text is None else round(max(0.0, now - datetime.fromisoformat(text).timestamp()), 3)
    return described | {"caught_up_seconds_ago": ago}


def problem(status: SourceStatus) -> str | None:
    """Return the problem of a source as one line; None if it has none."""
    if status.state in UNHEALTHY:
        return f"{status.state}: {status.error}"
    if status.state is State.PAUSED:
        return status.error or "paused"
    return "; ".join(status.problems) or None


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)
