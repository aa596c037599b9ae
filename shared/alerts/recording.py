"""Alerts for tests: records each call and sends nothing."""

from typing import NamedTuple


class AlertCall(NamedTuple):
    method: str
    """`begin`, `end`, `event`, `adopt` or `hand_over`."""
    kind: str
    place: str
    text: str


class RecordingAlerts:
    """`Alerts` that keep their calls, oldest first."""

    def __init__(self) -> None:
        self.calls: list[AlertCall] = []

    def begin(self, kind: str, place: str, text: str) -> None:
        self.calls.append(AlertCall("begin", kind, place, text))

    def end(self, kind: str, place: str, text: str = "") -> None:
        self.calls.append(AlertCall("end", kind, place, text))

    def event(self, kind: str, place: str, text: str) -> None:
        self.calls.append(AlertCall("event", kind, place, text))

    def reported(self, kind: str, place: str) -> bool:
        return (kind, place) in self.open

    def adopt(self, kind: str, place: str, text: str, started_at: float) -> None:  # noqa: ARG002 -- as the protocol has it
        self.calls.append(AlertCall("adopt", kind, place, text))

    def hand_over(self, kind: str, place: str) -> None:
        self.calls.append(AlertCall("hand_over", kind, place, ""))

    @property
    def open(self) -> set[tuple[str, str]]:
        """Kind and place of the problems that began and have not ended."""
        found: set[tuple[str, str]] = set()
        for call in self.calls:
            if call.method in {"begin", "adopt"}:
                found.add((call.kind, call.place))
            elif call.method in {"end", "hand_over"}:
                found.discard((call.kind, call.place))
        return found
