"""Where in the history a subscription begins: at its earliest event, at a time, or so long ago. Sans-I/O."""

import re
from datetime import datetime
from typing import Final

from services.experience_api.refusals import MALFORMED, Refused

EARLIEST: Final = 0.0
"""The time of the earliest event that is kept, and of all before it."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")
_EXPECTED = "expected 'earliest', a duration such as 90s, 15m, 2h or 7d, or a time such as 2026-01-02T03:04:05Z"
_TEXT_LIMIT = 40


def read_since(text: str, now: float) -> float:
    """Return a time in seconds since 1970. `now` is the current one.

    Raises:
        Refused: `MALFORMED`.
    """
    if text == "earliest":
        return EARLIEST
    if (found := _DURATION.fullmatch(text)) is not None:
        number, unit = found.groups()
        return max(EARLIEST, now - int(number) * _SECONDS[unit])
    try:
        # A space stands for the plus sign of an offset that was not encoded in the URL.
        time = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        time = None
    if time is None or time.tzinfo is None or "T" not in text:
        raise Refused(MALFORMED, f"query parameter 'since': found {text[:_TEXT_LIMIT]!r}; {_EXPECTED}")
    return max(EARLIEST, time.timestamp())
