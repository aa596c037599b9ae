import pytest

from services.experience_api.hub.heartbeat import SLOTS, Progress, Wheel, alive, answered, reads


def test_each_member_is_due_once_a_turn_the_first_time_after_a_full_turn() -> None:
    wheel: Wheel[str] = Wheel()
    wheel.add("first")
    assert wheel.advance() == []
    wheel.add("second")
    seen = [wheel.advance() for _ in range(2 * SLOTS)]
    assert [number for number, due in enumerate(seen) if "first" in due] == [SLOTS - 2, 2 * SLOTS - 2]
    assert [number for number, due in enumerate(seen) if "second" in due] == [SLOTS - 1, 2 * SLOTS - 1]


def test_a_discarded_member_is_never_due_and_may_be_discarded_while_others_are() -> None:
    wheel: Wheel[str] = Wheel()
    for name in ("a", "b", "c"):
        wheel.add(name)
    wheel.discard("b")
    wheel.discard("b")
    for _ in range(SLOTS - 1):
        assert wheel.advance() == []
    for name in wheel.advance():
        wheel.discard(name)
    assert all(wheel.advance() == [] for _ in range(2 * SLOTS))


@pytest.mark.parametrize(
    ("received", "buffered_before", "buffered", "expected"),
    [
        (True, 0, 0, True),
        (True, 50, 50, True),
        (False, 0, 0, False),
        (False, 50, 50, False),
        (False, 50, 60, False),
        (False, 50, 49, True),  # reads slowly
        (False, 50, 0, False),  # has read the ping and does not answer
        (False, 0, 50, False),
    ],
)
def test_alive_where_the_system_does_not_tell_what_was_acknowledged(
    received: bool, buffered_before: int, buffered: int, expected: bool
) -> None:
    before, now = Progress(buffered_before), Progress(buffered)
    assert alive(received=received, before=before, now=now, stalled=0) is expected


def measured(acknowledged: int, queued: int = 0, buffered: int = 0, window: int = 0) -> Progress:
    return Progress(buffered, acknowledged, queued, window)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (measured(100, queued=1_000_000), measured(101, queued=999_999), True),
        (measured(100, queued=1_000_000), measured(1_000_100), True),  # all has arrived; the ping comes next
        (measured(100, buffered=1_000_000), measured(40_100, queued=960_000), True),
        (measured(100, queued=500), measured(200, queued=400), True),  # a line of a few bytes a second
        (measured(100, queued=500), measured(100, queued=502), False),
        (measured(100), measured(102), False),  # its kernel has the ping, its program does not read it
        (measured(100, queued=500), measured(602), False),
        (measured(100, window=5000), measured(102, window=20_000), True),  # its program reads what its kernel holds
        (measured(100, window=5000), measured(102, window=4998), False),
    ],
)
def test_a_peer_is_alive_while_it_reads(before: Progress, now: Progress, expected: bool) -> None:
    assert reads(before, now) is expected
    assert alive(received=False, before=before, now=now, stalled=0) is expected
    assert alive(received=True, before=before, now=now, stalled=0)


def test_a_peer_with_a_backlog_may_miss_one_heartbeat() -> None:
    """The window of a large receive buffer opens in large steps."""
    stuck = measured(100, queued=1_000_000)
    assert alive(received=False, before=stuck, now=stuck, stalled=0)
    assert not alive(received=False, before=stuck, now=stuck, stalled=1)


def test_a_backlog_is_more_than_is_on_its_way() -> None:
    assert Progress(1).backlog
    assert not Progress(0).backlog
    assert not measured(10**9, queued=10_000).backlog
    assert measured(0, queued=10_000, buffered=10_000).backlog


@pytest.mark.parametrize(
    ("received", "before", "now", "stalled", "expected"),
    [
        (True, measured(100), measured(102), 5, True),
        (False, measured(100, window=5000), measured(102, window=20_000), 0, True),
        (False, measured(100, window=5000), measured(102, window=20_000), 1, False),  # what a proxy has read
        (False, measured(100, queued=1_000_000), measured(40_100, queued=960_000), 1, True),
        (False, measured(100, queued=1_000_000), measured(100, queued=1_000_000), 1, False),
    ],
)
def test_a_peer_that_answers_heartbeats(
    received: bool, before: Progress, now: Progress, stalled: int, expected: bool
) -> None:
    assert answered(received=received, before=before, now=now, stalled=stalled) is expected
