from shared.http.accepting.limits import ConnectionLimitOptions, IdleConnections

OPTIONS = ConnectionLimitOptions(header_timeout=10, keepalive_timeout=75, max_idle=6, max_idle_per_address=3)


class TestIdleConnections:
    def test_a_connection_expires_after_its_timeout(self) -> None:
        idle: IdleConnections[str] = IdleConnections(OPTIONS)
        assert idle.add("slow", "a", now=0, timeout=10) == []
        assert idle.add("kept alive", "a", now=0, timeout=75) == []
        assert idle.add("quick", "a", now=0, timeout=10) == []
        idle.discard("quick")
        assert idle.expired(9.9) == []
        assert idle.expired(10) == ["slow"]
        assert idle.expired(75) == ["kept alive"]
        assert len(idle) == 0

    def test_above_the_limit_of_an_address_its_oldest_is_returned(self) -> None:
        idle: IdleConnections[str] = IdleConnections(OPTIONS)
        assert idle.add("other", "b", now=0, timeout=10) == []
        for number in range(3):
            assert idle.add(f"a{number}", "a", now=number, timeout=10) == []
        assert idle.add("a3", "a", now=3, timeout=10) == ["a0"]
        assert idle.add("a4", "a", now=4, timeout=10) == ["a1"]
        idle.discard("a2")
        assert idle.add("a5", "a", now=5, timeout=10) == []

    def test_a_burst_may_exceed_the_limit_of_an_address_for_a_second(self) -> None:
        """What comes through one proxy at once is accepted before any of it is read."""
        idle: IdleConnections[int] = IdleConnections(ConnectionLimitOptions(max_idle_per_address=10))
        for number in range(1000):
            assert idle.add(number, "proxy", now=0.5, timeout=10) == []
        assert idle.add(1000, "proxy", now=1.6, timeout=10) == list(range(991))

    def test_above_the_limit_of_all_the_oldest_is_returned(self) -> None:
        idle: IdleConnections[int] = IdleConnections(OPTIONS)
        for number in range(6):
            assert idle.add(number, f"address {number}", now=0, timeout=10) == []
        assert idle.add(6, "address 6", now=0, timeout=10) == [0]
        assert len(idle) == 6

    def test_nothing_is_kept_of_a_connection_that_is_not_idle(self) -> None:
        idle: IdleConnections[str] = IdleConnections(OPTIONS)
        idle.add("one", "a", now=0, timeout=10)
        for _ in range(2):
            idle.discard("one")
        assert not idle._of_address
