"""Counts letters by what went wrong. No I/O."""

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from services.process_api.dead_letters.letter import Letter
from shared.runtime.clock import rfc3339

_MOST_GROUPS = 1000
_ERROR = 200
_NUMBER = re.compile(r"[0-9]+")


class Cause(NamedTuple):
    """What letters of one group have in common."""

    stage: str
    source: str
    pipeline: str
    error: str
    """The beginning of the error, in which `*` stands for numbers: as the filter `error` takes it."""


@dataclass(slots=True)
class _Group:
    count: int
    oldest: int
    newest: int
    example: str
    """The newest letter."""


class Groups:
    """The groups of the letters that were added."""

    def __init__(self) -> None:
        self.total = 0
        self.ungrouped = 0
        """Letters of further groups, of which there are too many."""
        self._groups: dict[Cause, _Group] = {}

    def add(self, letter: Letter) -> None:
        """Count a letter."""
        self.total += 1
        cause = Cause(letter.stage, letter.source, letter.pipeline_name, _NUMBER.sub("*", letter.error)[:_ERROR])
        self._add(cause, _Group(1, letter.timestamp, letter.timestamp, str(letter.place)))

    def merge(self, later: "Groups") -> None:
        """Count the letters of others, which came later."""
        self.total += later.total
        self.ungrouped += later.ungrouped
        for cause, group in later._groups.items():  # noqa: SLF001 -- of the same class
            self._add(cause, group)

    def _add(self, cause: Cause, later: _Group) -> None:
        group = self._groups.get(cause)
        if group is not None:
            group.count += later.count
            group.oldest = min(group.oldest, later.oldest)
            group.newest = max(group.newest, later.newest)
            group.example = later.example
        elif len(self._groups) < _MOST_GROUPS:
            self._groups[cause] = later
        else:
            self.ungrouped += later.count

    def shown(self) -> dict[str, Any]:
        """Return the groups as JSON, the largest first."""
        groups = sorted(self._groups.items(), key=lambda each: -each[1].count)
        return {
            "total": self.total,
            "groups": [
                {
                    **cause._asdict(),
                    "count": group.count,
                    "oldest": rfc3339(group.oldest / 1000),
                    "newest": rfc3339(group.newest / 1000),
                    "example": group.example,
                }
                for cause, group in groups
            ],
            "ungrouped": self.ungrouped,
        }
