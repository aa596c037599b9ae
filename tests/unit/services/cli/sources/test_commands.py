"""`trelay sources` against the endpoints of a whole service without a server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from services.cli import main
from services.system_api.app import build_system_api
from services.system_api.settings import SystemSettings
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.lease import MemoryLeaseStore
from tests.unit.services.cli.serving import ServiceThread
from tests.unit.services.system_api.sources.file.file_poller import write

TOKEN = "0123456789abcdef0123456789abcdef"


def running(settings: SystemSettings) -> ServiceThread:
    outside: dict[str, Any] = {"leases": MemoryLeaseStore(), "alerts": RecordingAlerts()}
    return ServiceThread(lambda: build_system_api(settings, bus=MemoryBus(), **outside))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "a.ndjson", 1, 2, 3)
    return tmp_path


def settings(folder: Path, **system: Any) -> SystemSettings:
    source = {"kind": "file", "path": str(folder / "a.ndjson"), "type": "t", "subject": "id", "channel": "c"}
    given = {"node": "n", "listen": {"port": 0}, "sources": {"orders": source}, **system}
    return SystemSettings.model_validate({"system": given})


@pytest.fixture
def service(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServiceThread]:
    with running(settings(folder)) as service:
        monkeypatch.setenv("TRELAY_SYSTEM_URL", service.url)
        yield service


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert main(["sources", *arguments]) == status
    output = capsys.readouterr()
    return output.out if status == 0 else output.err


def published(capsys: pytest.CaptureFixture[str], count: int) -> dict[str, Any]:
    """Wait until a source has published so many events."""
    while (found := json.loads(said(capsys, "show", "orders", "--json")))["counts"]["published"] < count:
        pass
    source: dict[str, Any] = found
    return source


def test_an_operator_sees_pauses_rewinds_and_resumes_a_source(
    service: ServiceThread, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert published(capsys, 3)["owner"] == "n"
    assert "orders  running  n" in said(capsys, "list")
    assert "published: 3" in said(capsys, "show", "orders")
    assert said(capsys, "poll", "orders") == "orders polls now\n"
    hours = said(capsys, "counts", "orders", "--hours", "1").splitlines()
    assert hours[0].split() == ["HOUR", "ROWS", "PUBLISHED", "REJECTED", "SKIPPED"]
    assert said(capsys, "pause", "orders", "--reason", "maintenance") == "orders is paused\n"
    assert "paused by loopback: maintenance" in said(capsys, "list")
    assert "paused; resume it first" in said(capsys, "poll", "orders", status=1)
    (folder / "saved.json").write_text(said(capsys, "show", "orders", "--position"))
    preview = said(capsys, "rewind", "orders", "--to", "beginning", "--dry-run")
    assert "of its position would change" in preview
    assert json.loads(said(capsys, "show", "orders", "--json"))["request"] is None
    assert said(capsys, "rewind", "orders", "--to", "beginning", "--yes").endswith("orders is rewound\n")
    assert "failed" not in said(capsys, "rewind", "orders", "--position", str(folder / "saved.json"), "-y")
    assert "orders is rewound" in said(capsys, "rewind", "orders", "--to", "beginning", "-y")
    assert said(capsys, "resume", "orders") == "orders is running\n"
    published(capsys, 6)
    assert "has no snapshots" in said(capsys, "snapshot", "orders", status=1)


def test_a_rewind_that_is_not_confirmed_changes_nothing(
    service: ServiceThread, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    published(capsys, 3)
    monkeypatch.setattr("click.confirm", _declined)
    assert main(["sources", "rewind", "orders", "--to", "beginning"]) == 130
    assert json.loads(_after(capsys, "show", "orders", "--json"))["request"] is None


def _declined(_text: str, **_options: object) -> None:
    raise click.Abort


def _after(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    return said(capsys, *arguments)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["rewind", "orders"], "expected --to or --position"),
        (["rewind", "orders", "--position", "trelay.yaml"], "No such file"),
    ],
)
def test_wrong_usage_is_told(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert text in said(capsys, *arguments, status=2)


@pytest.mark.parametrize("content", ["{", "[]", '{"position": 7}', '{"position": {"": "1"}, "parts": 60}'])
def test_a_position_that_is_none_is_refused(tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "saved.json").write_text(content)
    assert "--position: " in said(capsys, "rewind", "orders", "--position", str(tmp_path / "saved.json"), status=2)


def test_a_token_is_sent(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(settings(folder, operators={"alice": {"token": TOKEN}})) as service:
        refused = said(capsys, "list", "--url", service.url, status=1)
        assert "answered 401: expected the token of an operator" in refused
        assert "orders" in said(capsys, "list", "--url", service.url, "--token", TOKEN)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://127.0.0.1:1/"])
def test_a_replica_that_does_not_answer_is_named(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    error = said(capsys, "list", "--url", url, status=1)
    assert "http://127.0.0.1:1: " in error
    assert "expected a replica of the system layer" in error


def test_an_address_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "expected http://host:port" in said(capsys, "list", "--url", "nonsense", status=2)
