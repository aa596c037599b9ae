"""How long the server gets to notice that messages are to be delivered again."""

from services.system_api.sources.queue.nats.recovery import Recovery


def test_a_server_that_has_not_noticed_gets_more_time_until_that_does_not_help() -> None:
    recovery = Recovery()
    waits = [recovery.wait]
    while recovery.again():
        waits.append(recovery.wait)
    assert waits == [0.5, 1.5, 4.5]
    assert recovery.wait == waits[0], "the next time begins anew"


def test_a_success_ends_the_attempts() -> None:
    recovery = Recovery()
    assert recovery.again()
    recovery.succeeded()
    assert recovery.wait == 0.5
