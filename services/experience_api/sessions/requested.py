"""What a request for the stream asks for. Sans-I/O."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
from multidict import MultiMapping

from services.experience_api.hub.audience import narrow
from services.experience_api.refusals import MALFORMED, Refused
from services.experience_api.sessions.conflate import read_conflate
from services.experience_api.sessions.since import read_since
from shared.errors import Malformed

PARAMETERS = ("channels", "conflate", "cursor", "filters", "heartbeat", "since", "snapshot", "ticket", "watermarks")
URL_BYTES = 65_536
"""The longest request line: some thousand channels have to fit into it, since a connection that resumes names all."""
_ANY = ("**",)
_filters = msgspec.json.Decoder(dict[str, str]).decode
_WATERMARKS = range(1, 3601)
_LONGEST_WAIT = 60.0
_USUAL_WAIT = 25.0
"""Seconds: shorter than the 30 after which many proxies give up on a response."""


@dataclass(frozen=True, slots=True)
class Requested:
    """The parameters of a request for the stream."""

    channels: str | None
    """None for every channel that the client may read."""
    cursor: str | None
    """Where to resume; None to begin at `since`."""
    since: float | None
    """When to begin in the history, in seconds since 1970; None to begin now."""
    heartbeat: bool
    """Whether heartbeats are events, which scripts can see."""
    filters: Mapping[str, str] = field(default_factory=dict)
    """Predicates over events, by requested pattern."""
    conflate: float = 0.0
    """The interval of conflation in seconds; 0 for none, so that every event is sent."""
    watermarks: int | None = None
    """The least seconds between two watermarks of a source; None for none."""
    snapshot: bool = False
    """Whether the latest event of each subject comes first."""
    answers: bool = False
    """Whether the client answers heartbeats."""


def read_requested(
    headers: MultiMapping[str], query: MultiMapping[str], more: tuple[str, ...] = (), *, now: float
) -> Requested:
    """Read the parameters at the time `now`; `more` are those that the endpoint reads itself.

    The header `Last-Event-ID`, which browsers send when they reconnect, comes before the parameter `cursor`.

    Raises:
        Refused: `MALFORMED`.
    """
    known = (*PARAMETERS, *more)
    for name in query:
        if name not in known:
            raise Refused(MALFORMED, f"query parameter {name[:40]!r}: expected {', '.join(known)}")
        if len(query.getall(name)) > 1:
            raise Refused(MALFORMED, f"query parameter {name!r}: found more than once; expected once")
    channels = query.get("channels")
    filters = _read_filters(query.get("filters", ""))
    try:
        narrow(_ANY, channels, filters)  # checks the form of the names; the claim tells which are permitted
    except Malformed as exc:
        raise Refused(MALFORMED, str(exc)) from exc
    heartbeat = query.get("heartbeat", "")
    if heartbeat not in {"", "event", "answer"}:
        expected = "expected 'event' or 'answer'"
        raise Refused(MALFORMED, f"query parameter 'heartbeat': found {heartbeat[:40]!r}; {expected}")
    cursor = headers.get("Last-Event-ID") or query.get("cursor") or None
    since = read_since(query["since"], now) if query.get("since") else None
    snapshot = query.get("snapshot", "")
    if snapshot not in {"", "true", "false"}:
        raise Refused(MALFORMED, f"query parameter 'snapshot': found {snapshot[:40]!r}; expected 'true' or 'false'")
    if snapshot == "true" and since is not None:
        raise Refused(MALFORMED, "query parameters 'since' and 'snapshot': found both; expected one of them")
    conflate = read_conflate(query["conflate"], "query parameter") if query.get("conflate") else 0.0
    return Requested(
        channels,
        cursor,
        since,
        heartbeat != "",
        filters,
        conflate=conflate,
        watermarks=_read_watermarks(query, more),
        snapshot=snapshot == "true",
        answers=heartbeat == "answer",
    )


def check_one_way(query: MultiMapping[str]) -> None:
    """Check a request for a response, over which a client cannot answer heartbeats.

    Raises:
        Refused: `MALFORMED`.
    """
    if "answer" in query.getall("heartbeat", []):
        raise Refused(MALFORMED, "query parameter 'heartbeat': found 'answer'; expected 'event', except on /ws/publish")


def _read_watermarks(query: MultiMapping[str], more: tuple[str, ...]) -> int | None:
    text = query.get("watermarks", "")
    if not text:
        return None
    if "wait" in more:
        raise Refused(MALFORMED, "query parameter 'watermarks': not for requests that wait for one batch of events")
    seconds = text.removesuffix("s")
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) < 5 and int(seconds) in _WATERMARKS):  # noqa: PLR2004 -- digits of the largest
        expected = f"expected {_WATERMARKS[0]} to {_WATERMARKS[-1]} seconds, such as 10s"
        raise Refused(MALFORMED, f"query parameter 'watermarks': found {text[:40]!r}; {expected}")
    return int(seconds)


def _read_filters(text: str) -> Mapping[str, str]:
    if not text:
        return {}
    try:
        return _filters(text)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError) as exc:
        expected = 'an object such as {"orders.*": "total > 100"}'
        raise Refused(MALFORMED, f"query parameter 'filters': {exc}; expected {expected}") from exc


def read_wait(query: MultiMapping[str]) -> float:
    """Return the seconds that a request for a batch may wait for events.

    Raises:
        Refused: `MALFORMED`.
    """
    text = query.get("wait", "")
    try:
        wait = float(text) if text else _USUAL_WAIT
    except ValueError:
        wait = math.nan
    if not 0 <= wait <= _LONGEST_WAIT:
        raise Refused(
            MALFORMED, f"query parameter 'wait': found {text[:40]!r}; expected 0 to {_LONGEST_WAIT:g} seconds"
        )
    return wait
