"""Where a source starts that was never started before: what was there already may be left unread. No I/O."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from services.system_api.sources.file.filesystem import FileStat, is_undecodable

_EXPECTED = "expected 'beginning', 'end', or a time with its offset, such as 2026-01-31T12:00:00Z"


def _place(given: object) -> object:
    if given in {"beginning", "end"}:
        return given
    try:
        time = given if isinstance(given, datetime) else datetime.fromisoformat(str(given))
    except ValueError as exc:
        raise ValueError(f"found {str(given)[:60]!r}; {_EXPECTED}") from exc
    if time.tzinfo is None:
        raise ValueError(f"found {str(given)!r}, which has no offset; {_EXPECTED}")
    return time


StartPlace = Annotated[
    Literal["beginning", "end"] | datetime,
    BeforeValidator(_place),
    Field(json_schema_extra={"anyOf": [{"enum": ["beginning", "end"]}, {"type": "string", "format": "date-time"}]}),
]
"""`beginning`, `end`, or a time."""


class Start:
    """The setting `start`, applied to the files of the first look; a file that appears later is read whole."""

    def __init__(self, place: Literal["beginning", "end"] | datetime, *, first: bool) -> None:
        """`first` tells whether the source has no checkpoint, so that it was never started before."""
        self.applies = first and place != "beginning"
        """Whether the first look decides which files are left unread."""
        self._since = int(place.timestamp() * 1e9) if isinstance(place, datetime) else None

    def passes_over(self, file: FileStat) -> bool:
        """Whether what a file of the first look holds is left unread."""
        return self.excludes(file.mtime) and not is_undecodable(file.path)

    def excludes(self, mtime: int) -> bool:
        """Whether what a file holds that was modified at a time (ns) is left unread."""
        return self.applies and (self._since is None or mtime < self._since)


FROM_BEGINNING = Start("beginning", first=False)
"""Reads everything."""
