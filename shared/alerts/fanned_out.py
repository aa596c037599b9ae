"""`Alerts` that go to several places."""

from collections.abc import Sequence

from shared.alerts.mailer import Mailer


class FannedOutAlerts:
    """`Alerts` for a mail server and for services, each with its own queue: one that is unavailable delays no other."""

    def __init__(self, mailers: Sequence[Mailer]) -> None:
        self._mailers = mailers

    def begin(self, kind: str, place: str, text: str) -> None:
        for mailer in self._mailers:
            mailer.begin(kind, place, text)

    def end(self, kind: str, place: str, text: str = "") -> None:
        for mailer in self._mailers:
            mailer.end(kind, place, text)

    def event(self, kind: str, place: str, text: str) -> None:
        for mailer in self._mailers:
            mailer.event(kind, place, text)

    def reported(self, kind: str, place: str) -> bool:
        return all(mailer.reported(kind, place) for mailer in self._mailers)

    def adopt(self, kind: str, place: str, text: str, started_at: float) -> None:
        for mailer in self._mailers:
            mailer.adopt(kind, place, text, started_at)

    def hand_over(self, kind: str, place: str) -> None:
        for mailer in self._mailers:
            mailer.hand_over(kind, place)
