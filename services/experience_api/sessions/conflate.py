"""How often a connection with conflation is written: a duration. Sans-I/O."""

import re

from services.experience_api.refusals import MALFORMED, Refused

_DURATION = re.compile(r"([0-9]{1,6})(ms|s|m)")
_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000}
_SHORTEST, _LONGEST = 100, 60_000
_TEXT_LIMIT = 40


def read_conflate(text: str, place: str) -> float:
    """Return the seconds between two writes; `place` is where the text was found.

    Raises:
        Refused: `MALFORMED`.
    """
    found = _DURATION.fullmatch(text)
    milliseconds = 0 if found is None else int(found[1]) * _MILLISECONDS[found[2]]
    if not _SHORTEST <= milliseconds <= _LONGEST:
        expected = "expected a duration from 100ms to 60s, such as 500ms or 2s"
        raise Refused(MALFORMED, f"{place} 'conflate': found {text[:_TEXT_LIMIT]!r}; {expected}")
    return milliseconds / 1000
