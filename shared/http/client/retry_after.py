"""When a server wants the next request: `Retry-After` (RFC 9110, section 10.2.3) and rate-limit headers. No I/O.

The rate-limit headers are those of the IETF drafts ("RateLimit header fields for HTTP", in the forms of the drafts 02
to 10), and those with `X-` that GitHub, GitLab, Zendesk and others send. A value that cannot be read counts as absent.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_SECONDS = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,9})?")
_SINCE_1970 = 1e9
"""A time to reset above this is a point in time, not a number of seconds: it would be 31 years."""
_MILLISECONDS_SINCE_1970 = 1e12
_PREFIXES = ("ratelimit-", "x-ratelimit-", "x-rate-limit-")
_PART = re.compile(r"(?:^|[;,\s])(?P<name>r|remaining|t|reset)\s*=\s*(?P<value>[0-9]{1,18})(?=$|[;,\s])")


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds to wait by `Retry-After`, None where there is none; `now` is in seconds since 1970.

    The names of `headers` are in lower case, or found in any case, as those of aiohttp are. A date counts from the
    `Date` of the response, so that a difference between the clocks does not matter.
    """
    value = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    at = http_date(value)
    if at is None:
        return None
    sent = http_date(headers.get("date", ""))
    return max(0.0, at - (now if sent is None else sent))


def exhausted_for(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds until there is quota again, None where some is left or the headers do not say.

    A point in time counts from the `Date` of the response, as with `Retry-After`.
    """
    sent = http_date(headers.get("date", ""))
    combined = _combined(headers.get("ratelimit", ""))
    for remaining, reset in (combined, *(_separate(headers, prefix) for prefix in _PREFIXES)):
        if remaining is not None and remaining < 1 and reset is not None:
            return _until(reset, now if sent is None else sent)
    return None


def http_date(value: str) -> float | None:
    """Return a date of HTTP (RFC 9110, section 5.6.7, all three forms) in seconds since 1970; None if it is none."""
    try:
        parsed = parsedate_to_datetime(value)
        if parsed.tzinfo is None:
            parsed = parsed.replace(tzinfo=UTC)
        return (parsed - datetime.fromtimestamp(0, UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _combined(value: str) -> tuple[float | None, float | None]:
    """Read `"default";r=0;t=30` or `limit=100, remaining=0, reset=30`; of several policies, the first."""
    found: dict[str, float] = {}
    for part in _PART.finditer(value):
        found.setdefault(part["name"], float(part["value"]))
    return found.get("r", found.get("remaining")), found.get("t", found.get("reset"))


def _separate(headers: Mapping[str, str], prefix: str) -> tuple[float | None, float | None]:
    return _number(headers.get(f"{prefix}remaining", "")), _number(headers.get(f"{prefix}reset", ""))


def _number(value: str) -> float | None:
    value = value.strip()
    return float(value) if _SECONDS.fullmatch(value) else None


def _until(reset: float, now: float) -> float:
    if reset < _SINCE_1970:
        return reset
    seconds = reset / 1000 if reset > _MILLISECONDS_SINCE_1970 else reset
    return math.ceil(max(0.0, seconds - now))
