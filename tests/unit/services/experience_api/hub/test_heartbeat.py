import pytest

from services.experience_api.hub.heartbeat import SLOTS, Wheel, alive


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
def test_alive(received: bool, buffered_before: int, buffered: int, expected: bool) -> None:
    assert alive(received=received, buffered_before=buffered_before, buffered=buffered) is expected
