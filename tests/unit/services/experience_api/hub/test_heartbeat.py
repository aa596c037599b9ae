import pytest

from services.experience_api.hub.heartbeat import SLOTS, Wheel, alive


def test_each_comes_up_once_a_turn_the_first_time_after_a_whole_one() -> None:
    wheel: Wheel[str] = Wheel()
    wheel.add("first")
    assert wheel.advance() == []
    wheel.add("second")
    seen = [wheel.advance() for _ in range(2 * SLOTS)]
    assert [number for number, due in enumerate(seen) if "first" in due] == [SLOTS - 2, 2 * SLOTS - 2]
    assert [number for number, due in enumerate(seen) if "second" in due] == [SLOTS - 1, 2 * SLOTS - 1]


def test_who_is_forgotten_does_not_come_up_and_may_go_while_others_do() -> None:
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
    ("heard", "waited", "waits", "expected"),
    [
        (True, 0, 0, True),
        (True, 50, 50, True),
        (False, 0, 0, False),
        (False, 50, 50, False),
        (False, 50, 60, False),
        (False, 50, 49, True),  # slow, but it reads
        (False, 50, 0, False),  # it has read the ping and says nothing
        (False, 0, 50, False),
    ],
)
def test_who_is_alive(heard: bool, waited: int, waits: int, expected: bool) -> None:
    assert alive(heard=heard, waited=waited, waits=waits) is expected
