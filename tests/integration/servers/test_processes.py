"""One hiccup of what surrounds the tests fails no run, and the run's end names it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from services.standalone.embedded.process import ServerFailed, ServerMissing
from tests.servers import processes
from tests.servers.processes import downloading_again, starting_again


class Surroundings:
    """Fail as often as they are told to."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.running = 0

    def attempt(self, error: Exception) -> None:
        self.failures -= 1
        if self.failures >= 0:
            raise error


@pytest.fixture
def repeated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(processes, "repeated", found)
    monkeypatch.setattr(processes, "PAUSES", (0.0, 0.0))
    return found


@starting_again
@contextmanager
def server(surroundings: Surroundings) -> Iterator[str]:
    surroundings.running += 1
    try:
        surroundings.attempt(ServerFailed("port taken"))
        yield "address"
    finally:
        surroundings.running -= 1


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_a_server_that_does_not_start_is_started_again(repeated: list[str], failures: int) -> None:
    surroundings = Surroundings(failures)
    with server(surroundings) as address:
        assert address == "address"
        assert surroundings.running == 1
    assert surroundings.running == 0
    assert repeated == ["port taken"] * failures


def test_the_third_failure_is_the_last_one(repeated: list[str]) -> None:
    surroundings = Surroundings(3)
    with pytest.raises(ServerFailed, match="port taken"), server(surroundings):
        pytest.fail("it has not started")
    assert surroundings.running == 0
    assert surroundings.failures == 0
    assert len(repeated) == 2


def test_the_error_of_a_test_does_not_start_its_server_again(repeated: list[str]) -> None:
    with pytest.raises(ServerFailed, match="of the test"), server(Surroundings(0)):
        raise ServerFailed("of the test")
    assert repeated == []


@pytest.mark.parametrize(("ci", "failures"), [("true", 2), ("", 0)])
def test_a_download_is_tried_again_in_ci(
    repeated: list[str], monkeypatch: pytest.MonkeyPatch, ci: str, failures: int
) -> None:
    monkeypatch.setenv("CI", ci)
    registry = Surroundings(failures)

    @downloading_again
    def download(name: str) -> str:
        registry.attempt(ServerMissing("no answer"))
        return name

    assert download("kafka") == "kafka"
    assert len(repeated) == failures
    registry.failures = failures + 1
    with pytest.raises(ServerMissing, match="no answer"):
        download("kafka")
