"""A clock that tests move."""

from shared.runtime.clock import SystemClock


class ManualClock(SystemClock):
    def __init__(self, wall: float = 1_700_000_000.0) -> None:
        self.wall = wall
        self.passed = 0.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.passed

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.passed += seconds
