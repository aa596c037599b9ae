import json
from pathlib import Path

import pytest

from services.cli import main
from services.cli.status.collecting import Address
from services.cli.status.commands import _addresses
from shared.errors import SettingsError


def test_addresses_of_options() -> None:
    found = _addresses(["http://a:8081/, http://a:9090", "https://b"], None)
    assert found == [Address("http://a:8081", "http://a:9090"), Address("https://b", "https://b")]


@pytest.mark.parametrize("text", ["a:8081", "ftp://a", "http://", "http://a,b:9090"])
def test_an_address_that_is_none(text: str) -> None:
    with pytest.raises(SettingsError, match="expected http://host:port"):
        _addresses([text], None)


def test_addresses_of_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "trelay.yaml"
    file.write_text(
        "system: {listen: {host: 0.0.0.0, port: 81, health: {host: '::', port: 91}}}\n"
        "process: {listen: {host: '::1', port: 82}}\n"
    )
    assert _addresses([], file) == [
        Address("http://127.0.0.1:81", "http://[::1]:91"),
        Address("http://[::1]:82", "http://[::1]:82"),
        Address("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
    ]


def test_without_a_deployment_the_exit_status_is_1(unused_tcp_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    assert main(["status", "--url", url, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["problems"][0]["alert"] == "TrelayServiceMissing"
    assert main(["status", "--url", url]) == 1
    assert capsys.readouterr().out.startswith("1 problem\n")


def test_addresses_are_given_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--url", "http://a", "--config", "trelay.yaml"]) == 2
    assert "not both" in capsys.readouterr().err
