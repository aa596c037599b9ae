"""`trelay dead-letters` against the endpoints of a whole service without a server."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import click
import pytest

from services.cli import main
from services.process_api.app import build_process_api
from services.process_api.settings import ProcessSettings
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.composition.serving import RunningService
from tests.unit.services.cli.serving import ServiceThread
from tests.unit.services.process_api.dead_letters.lettering import Desk, bad_line, reject

PIPELINES: dict[str, Any] = {
    "orders": {
        "sources": ["orders"],
        "channel": "orders",
        "steps": [{"validate": {"type": "object", "required": ["total"]}}],
    },
}


@asynccontextmanager
async def built() -> AsyncIterator[RunningService]:
    bus = MemoryBus()
    await Desk(bus).write(reject(1), bad_line(2), reject(3), reject(4, pipeline="gone@1"))
    given = {"node": "n", "listen": {"port": 0}, "pipelines": PIPELINES}
    settings = ProcessSettings.model_validate(
        {"process": given, "bus": {"kind": "postgres", "topics": {"partitions": 2}}}
    )
    async with build_process_api(settings, bus=bus, alerts=RecordingAlerts()) as service:
        while not (await _ready(service)):
            await asyncio.sleep(0.01)
        yield service


async def _ready(service: RunningService) -> bool:
    async with aiohttp.ClientSession() as session, session.get(f"{service.listening.health_url}/readyz") as answer:
        return answer.status == 200


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[ServiceThread]:
    with ServiceThread(built) as service:
        monkeypatch.setenv("TRELAY_PROCESS_URL", service.url)
        yield service


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert main(["dead-letters", *arguments]) == status
    output = capsys.readouterr()
    return output.out if status == 0 else output.out + output.err


@pytest.mark.usefixtures("service")
def test_an_operator_looks_into_letters_and_decides_on_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert [line.split()[0] for line in said(capsys, "list").splitlines()] == ["ID", "0-3", "0-2", "0-1", "0-0"]
    listed = json.loads(
        said(capsys, "list", "--source", "orders", "--since", "1d", "--oldest", "--limit", "2", "--json")
    )
    assert [each["id"] for each in listed["letters"]] == ["0-0", "0-2"]
    heading, _, first, *_ = said(capsys, "counts").splitlines()
    assert heading == "4 letters"
    assert first.split()[:4] == ["2", "pipeline", "orders", "orders"]
    assert json.loads(said(capsys, "counts", "--stage", "source", "--json"))["total"] == 1
    shown = said(capsys, "show", "0-0")
    assert "error: steps.0.validate: found no total" in shown
    assert '"n": 1' in shown
    assert json.loads(said(capsys, "show", "0-0", "--json"))["json"]["id"] == "orders:1"
    assert said(capsys, "replay", "--pipeline", "orders", "--dry-run") == "2 letters would be replayed\n"
    event = json.loads(said(capsys, "show", "0-0", "--event"))
    fixed = tmp_path / "fixed.json"
    fixed.write_text(json.dumps(event | {"data": {"total": 3}}))
    assert said(capsys, "replay", "0-0", "--event", str(fixed), "--yes") == "1 letter replayed\n"
    (tmp_path / "data.json").write_text('{"total": 4}')
    assert said(capsys, "replay", "0-2", "--data", str(tmp_path / "data.json"), "--yes") == "1 letter replayed\n"
    output = said(capsys, "replay", "--all", "--yes", status=1)
    assert "2 cannot be replayed:" in output
    assert "0-3: the pipeline 'gone' does not take the source 'orders' any more" in output
    dropped = json.loads(said(capsys, "drop", "0-1", "0-3", "--reason", "old", "--yes", "--json"))
    assert (dropped["dropped"], "cursor" in dropped) == (2, False)
    assert said(capsys, "list").splitlines()[1:] == []
    assert said(capsys, "list", "--status", "dropped", "--error", "found", "--json").count('"by": "loopback"') == 2


@pytest.mark.usefixtures("service")
def test_an_event_is_edited_in_an_editor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(click, "edit", lambda text, **_: text.replace('"n": 1', '"total": 1'))
    assert said(capsys, "replay", "0-0", "--edit", "--yes") == "1 letter replayed\n"
    monkeypatch.setattr(click, "edit", lambda text, **_: text.replace("orders:3", "other"))
    output = said(capsys, "replay", "0-2", "--edit", "--yes", status=1)
    assert "attribute 'id': found 'other'; expected 'orders:3'" in output
    kept = Path(output.partition("kept in ")[2].strip())
    assert json.loads(kept.read_text())["id"] == "other"
    kept.unlink()


@pytest.mark.usefixtures("service")
def test_an_edit_that_is_not_replayed_is_kept(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def abort(*_: Any, **__: Any) -> None:
        raise click.Abort

    monkeypatch.setattr(click, "edit", lambda text, **_: text.replace('"n": 1', '"total": 1'))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr(click, "confirm", abort)

    def kept(*options: str) -> list[Path]:
        main(["dead-letters", "replay", "0-0", "--edit", *options])
        _, found, named = capsys.readouterr().err.partition("the edited event is kept in ")
        return [Path(named.splitlines()[0])] if found else []

    files = [*kept("--dry-run"), *kept()]
    assert kept("--yes") == []
    files += kept("--yes")  # as if another operator was first
    for file in files:
        assert json.loads(file.read_text())["data"]["total"] == 1
        file.unlink()
    assert len(files) == 3


@pytest.mark.usefixtures("service")
def test_a_letter_of_a_pipeline_that_is_gone_goes_to_another_one(capsys: pytest.CaptureFixture[str]) -> None:
    output = said(capsys, "replay", "0-3", "--to-pipeline", "other", "--yes", status=1)
    assert "0-3: the pipeline 'other' does not take the source 'orders'\n" in output
    assert said(capsys, "replay", "0-3", "--to-pipeline", "orders", "--yes") == "1 letter replayed\n"
    assert '"to": "pipeline:orders"' in said(capsys, "list", "--status", "replayed", "--json")


@pytest.mark.usefixtures("service")
def test_it_asks_before_anything_is_changed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = said(capsys, "replay", "0-0", status=1)
    assert "1 letter would be replayed" in output
    assert "nothing was changed: there is no terminal to ask on; expected --yes or --dry-run" in output
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr(click, "confirm", lambda *_, **__: True)
    assert said(capsys, "replay", "0-0", "--channel", "fixed") == "1 letter replayed\n"
    output = said(capsys, "replay", "0-0", "--channel", "fixed", "--yes")
    assert output.splitlines() == ["0 letters would be replayed", "  1 had been decided on before"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["replay"], "which letters? Expected IDs, or a filter such as --pipeline, or --all"),
        (["drop", "0-1", "--all"], "which letters?"),
        (["replay", "--all", "--edit"], "an edited event belongs to one letter"),
        (["replay", "0-1", "--edit", "--event", __file__], "exclude one another"),
        (["replay", "0-1", "--channel", "c", "--to-pipeline", "p"], "--channel and --to-pipeline exclude one another"),
        (["list", "--since", "999999d"], "expected a time within the calendar"),
    ],
    ids=["none", "both", "edit-all", "edit-twice", "two-targets", "calendar"],
)
def test_wrong_usage_says_what_was_expected(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert text in said(capsys, *arguments, status=2)


def test_a_file_that_is_no_json_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "correct the file of --event" in said(capsys, "replay", "0-1", "--event", __file__, status=1)
