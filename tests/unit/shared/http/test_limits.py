import pytest

from shared.http.addresses import household
from shared.http.limits import ReceptionOptions, Waiting

OPTIONS = ReceptionOptions(headers_within=10, idle_within=75, waiting=6, waiting_per_address=3)


class TestWaiting:
    def test_who_waits_too_long_has_to_go(self) -> None:
        waiting: Waiting[str] = Waiting(OPTIONS)
        assert waiting.add("slow", "a", now=0, within=10) == []
        assert waiting.add("idle", "a", now=0, within=75) == []
        assert waiting.add("quick", "a", now=0, within=10) == []
        waiting.discard("quick")
        assert waiting.overdue(9.9) == []
        assert waiting.overdue(10) == ["slow"]
        assert waiting.overdue(75) == ["idle"]
        assert len(waiting) == 0

    def test_where_too_many_of_one_address_wait_the_oldest_goes(self) -> None:
        waiting: Waiting[str] = Waiting(OPTIONS)
        assert waiting.add("other", "b", now=0, within=10) == []
        for number in range(3):
            assert waiting.add(f"a{number}", "a", now=number, within=10) == []
        assert waiting.add("a3", "a", now=3, within=10) == ["a0"]
        assert waiting.add("a4", "a", now=4, within=10) == ["a1"]
        waiting.discard("a2")
        assert waiting.add("a5", "a", now=5, within=10) == []

    def test_a_crowd_has_a_moment_to_speak(self) -> None:
        """What comes through one proxy at once is accepted before any of it is read."""
        waiting: Waiting[int] = Waiting(ReceptionOptions(waiting_per_address=10))
        for number in range(1000):
            assert waiting.add(number, "proxy", now=0.5, within=10) == []
        assert waiting.add(1000, "proxy", now=1.6, within=10) == list(range(991))

    def test_where_too_many_wait_in_all_the_oldest_goes(self) -> None:
        waiting: Waiting[int] = Waiting(OPTIONS)
        for number in range(6):
            assert waiting.add(number, f"address {number}", now=0, within=10) == []
        assert waiting.add(6, "address 6", now=0, within=10) == [0]
        assert len(waiting) == 6

    def test_nothing_is_kept_of_who_does_not_wait(self) -> None:
        waiting: Waiting[str] = Waiting(OPTIONS)
        waiting.add("one", "a", now=0, within=10)
        for _ in range(2):
            waiting.discard("one")
        assert not waiting._of_address


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (("192.0.2.1", 4711), "192.0.2.1"),
        (("::ffff:192.0.2.1", 4711, 0, 0), "192.0.2.1"),
        (("2001:db8::1:2:3:4", 4711, 0, 0), "2001:db8::/64"),
        (("fe80::1%2", 4711, 0, 2), "fe80::/64"),
        ("", ""),
        (None, ""),
    ],
)
def test_who_shares_a_bound(peer: object, expected: str) -> None:
    assert household(peer) == expected
