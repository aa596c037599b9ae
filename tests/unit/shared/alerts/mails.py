"""The state of alerts, and a reader who knows only what its mails say."""

from shared.alerts.budget import Budget
from shared.alerts.state import AlertState, Intervals, Notification

INTERVALS = Intervals(group_wait=5.0, repeat_interval=3600.0)
CALM = Intervals(group_wait=5.0, repeat_interval=3600.0, resolve_wait=60.0)


def state(per_hour: int = 10, intervals: Intervals = INTERVALS) -> AlertState:
    return AlertState(intervals, Budget(per_hour, 0.0), 0.0)


def places(mail: Notification | None, section: str) -> list[str]:
    assert mail is not None
    return [entry.place for entry in getattr(mail, section)]


class Reader:
    """Knows only what the mails mail."""

    def __init__(self) -> None:
        self.open: set[str] = set()
        self.occurred: dict[str, int] = {}
        self.mails: list[float] = []

    def read(self, mail: Notification) -> None:
        assert mail.began or mail.ended or mail.occurred or mail.ongoing or mail.omitted
        assert {problem.place for problem in mail.ongoing} <= self.open
        for problem in mail.began:
            assert problem.place not in self.open, "reported twice"
            self.open.add(problem.place)
        for problem in mail.ended:
            self.open.discard(problem.place)
        for occurrence in mail.occurred:
            self.occurred[occurrence.place] = self.occurred.get(occurrence.place, 0) + occurrence.times
        self.mails.append(mail.at)

    def follow(self, alerts: AlertState, now: float, until: float) -> None:
        """Read every mail that is due up to a time."""
        while (due := alerts.due(now)) is not None and due <= until:
            now = max(now, due)
            mail = alerts.take(now)
            assert mail is not None, "a mail that is due can be taken"
            self.read(mail)
