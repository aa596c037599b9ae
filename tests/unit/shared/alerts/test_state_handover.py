"""Problems of something that moves between processes."""

from shared.alerts.state import AlertState
from tests.unit.shared.alerts.mails import places, state


def test_a_problem_that_another_process_reported_has_its_end_reported_here() -> None:
    alerts = state()
    alerts.adopt("source", "orders", "refused", 10.0)
    assert alerts.reported("source", "orders")
    assert alerts.take(100.0) is None, "its beginning is known"
    alerts.end("source", "orders", "works again", 200.0)
    mail = alerts.take(205.0)
    assert places(mail, "ended") == ["orders"]
    assert mail is not None
    assert mail.ended[0].started_at == 10.0


def test_a_problem_that_is_handed_over_has_no_more_mails_here() -> None:
    alerts = state()
    alerts.begin("source", "orders", "refused", 0.0)
    assert not alerts.reported("source", "orders")
    alerts.take(5.0)
    assert alerts.reported("source", "orders")
    alerts.hand_over("source", "orders")
    assert alerts.due(6.0) is None
    assert alerts.save() == []
    assert not alerts.reported("source", "orders")


def test_a_problem_that_is_handed_over_is_not_restored() -> None:
    earlier = state()
    for place in ("orders", "rates"):
        earlier.begin("source", place, "refused", 0.0)
    earlier.take(5.0)
    later: AlertState = state()
    later.hand_over("source", "orders")
    later.restore([list(entry) for entry in earlier.save()], 100.0)
    assert (later.reported("source", "orders"), later.reported("source", "rates")) == (False, True)


def test_a_problem_that_is_open_here_as_well_began_with_the_first() -> None:
    alerts = state()
    alerts.begin("source", "orders", "refused", 50.0)
    alerts.adopt("source", "orders", "refused", 10.0)
    assert alerts.take(100.0) is None
    alerts.end("source", "orders", "", 200.0)
    mail = alerts.take(205.0)
    assert mail is not None
    assert mail.ended[0].started_at == 10.0
