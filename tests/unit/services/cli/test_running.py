from collections.abc import Sequence

import pytest

from services.cli import main
from services.standalone import one_process


@pytest.mark.parametrize(
    ("arguments", "environment", "handed_on"),
    [
        ([], {}, ["--data", "var", "--port", "8080"]),
        (["--port", "0", "--data", "/d", "-c", "f"], {}, ["--data", "/d", "--port", "0", "--config", "f"]),
        ([], {"TRELAY_CONFIG": "f"}, ["--data", "var", "--port", "8080", "--config", "f"]),
        (["-c", "g"], {"TRELAY_CONFIG": "f"}, ["--data", "var", "--port", "8080", "--config", "g"]),
        ([], {"TRELAY_CONFIG": ""}, ["--data", "var", "--port", "8080"]),
    ],
)
def test_hands_on_what_it_is_told_and_the_exit_status(
    arguments: list[str], environment: dict[str, str], handed_on: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Sequence[str] | None] = []

    def stands_alone(arguments: Sequence[str] | None = None) -> int:
        told.append(arguments)
        return 7

    monkeypatch.setattr(one_process, "main", stands_alone)
    for name in ("TRELAY_CONFIG", "TRELAY_DATA", "TRELAY_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["run", *arguments]) == 7
    assert told == [handed_on]


@pytest.mark.parametrize("port", ["many", "-1", "65536"])
def test_a_port_is_a_port(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--port", port]) == 2
    assert "'--port'" in capsys.readouterr().err
