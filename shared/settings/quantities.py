"""Converts a quantity with a unit, such as `5s`, into the plain number that a setting expects."""

import re
from typing import Any

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_TIMES = {"seconds": 1, "hours": 3600, "days": 86_400}
_THOUSANDS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "ki": 1024, "mi": 1024**2, "gi": 1024**3}
_LONG = {
    "sec": "s", "secs": "s", "second": "s", "seconds": "s",
    "min": "m", "mins": "m", "minute": "m", "minutes": "m",
    "hour": "h", "hours": "h", "day": "d", "days": "d", "week": "w", "weeks": "w",
}  # fmt: skip
_WRITTEN = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>[A-Za-z]+)")
_PLAIN = 5


def unit_of(name: str, description: str) -> str | None:
    """Return the unit that ends the name of a setting or begins its description, such as `seconds` or `bytes`."""
    words = [*reversed(name.split("_")), *re.findall(r"\A\w+", description)]
    return next((word.lower() for word in words if word.lower() in {*_TIMES, "bytes"}), None)


def example(unit: str, written: Any, default: Any, *, whole: bool) -> str:
    """Return a number in this unit: of a text such as `5s` or `1MiB`, else the default, else 5."""
    found = _WRITTEN.fullmatch(written.strip()) if isinstance(written, str) else None
    meant = None if found is None else _meant(unit, float(found["number"]), found["unit"].lower())
    if meant is None:
        meant = default if isinstance(default, int | float) else _PLAIN
    return f"{round(meant) if whole else meant:.15g}"


def _meant(unit: str, number: float, written: str) -> float | None:
    if unit == "bytes":
        factor = _THOUSANDS.get(written.removesuffix("b"))
        return None if factor is None else number * factor
    seconds = _SECONDS.get(_LONG.get(written, written))
    return None if seconds is None else number * seconds / _TIMES[unit]
