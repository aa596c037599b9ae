"""What is wrong with parts of a source (a file, for example) while the other parts are read. No I/O.

A source repeats its problems with every poll, as text in which numbers may change: `12 rows have no key`. A problem is
the same one as long as the part that it names is the same, so that each has one beginning and one end.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

MAX_PARTS = 20
"""Parts that have notices of their own; all others share one."""
OTHERS = "other parts"
_WORDS = 4
# A number that stands alone may change from poll to poll; one inside a name does not.
_NUMBER = re.compile(r"(?<![^\s(])\d[\d.,]*(?![^\s),;:])")


class PartNotice(NamedTuple):
    """A problem of a part has begun, or is over."""

    begun: bool
    part: str
    text: str


class PartProblems:
    """The problems of the parts of one source."""

    def __init__(self) -> None:
        self.texts: tuple[str, ...] = ()
        """As the source reported them last."""
        self._noticed: dict[str, str] = {}

    def note(self, problems: Iterable[str]) -> list[PartNotice]:
        """Note all problems that there are now; return a notice for each that began or is over."""
        self.texts = tuple(problems)
        if not self.texts and not self._noticed:
            return []
        found = self._by_part()
        over = [PartNotice(begun=False, part=part, text="works again") for part in self._noticed if part not in found]
        begun = [
            PartNotice(begun=True, part=part, text=text) for part, text in found.items() if part not in self._noticed
        ]
        self._noticed = found
        return [*over, *begun]

    @property
    def noticed(self) -> Mapping[str, str]:
        """The parts whose problems had a notice that is not over, each with what is wrong."""
        return self._noticed

    def adopt(self, problems: Iterable[str]) -> None:
        """Take over the problems that another replica has had notices of."""
        self.texts = tuple(problems)
        self._noticed = self._by_part()

    def forget(self) -> None:
        """Forget all problems without a notice."""
        self.texts, self._noticed = (), {}

    def _by_part(self) -> dict[str, str]:
        """Return the problems by part. A part that has a notice keeps it, whatever else appears."""
        all_found: dict[str, str] = {}
        for text in self.texts:
            part, reason = split(text)
            all_found.setdefault(part, reason)
        kept = {part: reason for part, reason in all_found.items() if part in self._noticed}
        for part, reason in all_found.items():
            if len(kept) >= MAX_PARTS:
                break
            kept.setdefault(part, reason)
        left = len(all_found) - len(kept)
        if left:
            kept[OTHERS] = f"{left} more have problems; GET /sources lists them"
        return kept


def split(problem: str) -> tuple[str, str]:
    """Return the part that a problem is about, and what is wrong with it.

    `a.csv: Permission denied` is about `a.csv`. A sentence without a part is named by its first words.
    """
    part, colon, reason = problem.partition(": ")
    part = _NUMBER.sub("…", part)
    if colon:
        return part, reason
    words = part.split()
    return (" ".join([*words[:_WORDS], "…"]) if len(words) > _WORDS else part), problem
