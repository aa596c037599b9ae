from typing import Any, cast

from shared.alerts.fanned_out import FannedOutAlerts
from shared.alerts.mailer import Mailer


class Recorder:
    """Records each call."""

    def __init__(self, *, reported: bool) -> None:
        self.calls: list[tuple[str, ...]] = []
        self._reported = reported

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> bool:
            self.calls.append((name, *map(str, arguments)))
            return self._reported

        return call


def test_every_place_gets_every_call() -> None:
    places = [Recorder(reported=True), Recorder(reported=False)]
    alerts = FannedOutAlerts([cast("Mailer", place) for place in places])
    alerts.begin("source", "a", "x")
    alerts.event("source", "a", "y")
    alerts.adopt("source", "b", "x", 1.0)
    alerts.hand_over("source", "b")
    alerts.end("source", "a", "z")
    assert places[0].calls == places[1].calls
    assert [call[0] for call in places[0].calls] == ["begin", "event", "adopt", "hand_over", "end"]


def test_a_problem_is_reported_once_every_place_has_it() -> None:
    yes, no = Recorder(reported=True), Recorder(reported=False)
    assert not FannedOutAlerts([cast("Mailer", yes), cast("Mailer", no)]).reported("source", "a")
    assert FannedOutAlerts([cast("Mailer", yes)]).reported("source", "a")
