"""Alerts for tests: nothing is sent, everything can be looked at."""

from typing import NamedTuple


class Told(NamedTuple):
    """One call."""

    what: str
    """`begin`, `end` or `event`."""
    kind: str
    place: str
    text: str


class RecordingAlerts:
    """Keeps what it is told, oldest first."""

    def __init__(self) -> None:
        self.told: list[Told] = []

    def begin(self, kind: str, place: str, text: str) -> None:
        """A problem begins."""
        self.told.append(Told("begin", kind, place, text))

    def end(self, kind: str, place: str, text: str = "") -> None:
        """A problem is over."""
        self.told.append(Told("end", kind, place, text))

    def event(self, kind: str, place: str, text: str) -> None:
        """Something happens."""
        self.told.append(Told("event", kind, place, text))

    @property
    def open(self) -> set[tuple[str, str]]:
        """Kind and place of the problems that began and did not end."""
        found: set[tuple[str, str]] = set()
        for told in self.told:
            if told.what == "begin":
                found.add((told.kind, told.place))
            elif told.what == "end":
                found.discard((told.kind, told.place))
        return found
