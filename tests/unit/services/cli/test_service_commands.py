"""The commands that call a service wait for what they asked for, and print its answer as lines or as JSON."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from services.cli import service_commands as module
from services.cli.service_commands import awaited, print_answer


class Service:
    """Answers with numbers, one higher each time; a question takes a second."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.asked = 100.0, 0
        monkeypatch.setattr(module, "SYSTEM_CLOCK", self)
        monkeypatch.setattr(module, "_POLL_INTERVAL", 0)

    def monotonic(self) -> float:
        return self.now

    async def ask(self) -> dict[str, Any]:
        self.now += 1
        self.asked += 1
        return {"number": self.asked}


async def test_an_answer_that_satisfies_the_condition_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(monkeypatch)
    assert await awaited({"number": 7}, service.ask, lambda found: found["number"] == 7, 15) == {"number": 7}
    assert service.asked == 0


async def test_the_service_is_asked_until_an_answer_satisfies_the_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(monkeypatch)
    assert await awaited({"number": 0}, service.ask, lambda found: found["number"] == 3, 15) == {"number": 3}
    assert service.asked == 3


@pytest.mark.parametrize(("wait", "asked"), [(0, 0), (5, 5)])
async def test_the_last_answer_is_returned_when_the_time_is_over(
    monkeypatch: pytest.MonkeyPatch, wait: float, asked: int
) -> None:
    service = Service(monkeypatch)
    assert await awaited({"number": 0}, service.ask, lambda _: False, wait) == {"number": asked}
    assert service.asked == asked


def test_an_answer_is_printed_as_lines_or_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    found = {"name": "größe", "lag": 3}

    def lines() -> Iterator[str]:
        yield "größe"
        yield "lag 3"

    print_answer(found, lines(), as_json=False)
    assert capsys.readouterr().out == "größe\nlag 3\n"
    print_answer(found, lines(), as_json=True)
    printed = capsys.readouterr().out
    assert json.loads(printed) == found
    assert "größe" in printed
