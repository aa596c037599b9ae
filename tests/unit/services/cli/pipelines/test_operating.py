"""`trelay pipelines` against the endpoints of a whole service without a server."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.cli import main
from services.process_api.app import build_process_api
from services.process_api.settings import ProcessSettings
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.composition.serving import RunningService
from shared.errors import SettingsError
from shared.runtime.reloading import SettingsFile
from tests.unit.services.cli.serving import ServiceThread
from tests.unit.services.process_api.test_routes import PIPELINES, TOKEN, ingest, published


class Service(ServiceThread):
    """A process layer, with a settings file that it can read again."""

    def __init__(self, **process: Any) -> None:
        super().__init__(self._build_service)
        given = {"node": "n", "listen": {"port": 0}, "pipelines": PIPELINES, **process}
        self.settings = ProcessSettings.model_validate({"process": given})
        self.bus = MemoryBus()
        self.read: Callable[[], ProcessSettings] = lambda: self.settings

    @asynccontextmanager
    async def _build_service(self) -> AsyncIterator[RunningService]:
        async with build_process_api(self.settings, bus=self.bus, alerts=RecordingAlerts()) as service:
            _ = SettingsFile(self.settings, self._load, service.sections)
            yield service

    def _load(self, _files: set[Path]) -> ProcessSettings:
        return self.read()

    def ingest(self, *numbers: int) -> None:
        assert self.loop is not None
        asyncio.run_coroutine_threadsafe(ingest(self.bus, *numbers), self.loop).result(20)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    with Service() as service:
        monkeypatch.setenv("TRELAY_PROCESS_URL", service.url)
        yield service


class Command:
    """Runs `trelay pipelines`."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> str:
        assert main(["pipelines", *arguments]) == 0, self._capsys.readouterr().err
        return self._capsys.readouterr().out

    def until(self, condition: Callable[[Any], bool]) -> None:
        found: Any = None
        for _ in range(2000):
            found = json.loads(self("show", "orders", "--json"))
            if condition(found):
                return
        pytest.fail(str(found))


def test_pipelines_are_listed_shown_paused_resumed_and_rewound(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Command(capsys)
    ran.until(lambda found: found["lag"] == 0 and found["partitions"]["3"]["replica"] == "n")
    heading, orders, totals = ran("list").splitlines()
    assert heading.split() == ["PIPELINE", "STATE", "VERSION", "LAG", "EVENTS/S", "REJECTED", "REPLICAS"]
    assert orders.split()[:2] == ["orders", "running"]
    assert totals.split()[:2] == ["totals", "running"]
    service.ingest(2, 3)
    ran.until(lambda found: found["lag"] == 0 and found["events"]["taken"] == 2)
    assert ran("pause", "orders", "--reason", "repair") == "orders is paused\n"
    shown = ran("show", "orders")
    assert "orders: paused" in shown
    assert "by loopback at" in shown
    assert ": repair" in shown
    assert ran("resume", "orders") == "orders is running\n"
    planned = ran("rewind", "orders", "--to", "beginning", "--dry-run")
    assert "from offset 0 to before 2, 2 events" in planned
    assert "orders would take 2 events again" in planned
    assert published(service.bus, "orders") == [2, 3]
    assert ran("rewind", "orders", "--to", "beginning", "--yes").endswith("orders is rewound\n")
    ran.until(lambda found: found["lag"] == 0)
    assert published(service.bus, "orders") == [2, 3, 2, 3]
    assert 'rewind     to "beginning" by loopback' in ran("show", "orders")
    assert "nothing would run again" in ran("rewind", "orders", "--offset", "0=9", "--offset", "1=9", "--yes")


def test_what_cannot_be_done_is_an_error(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    Command(capsys).until(lambda found: found["lag"] == 0)
    for arguments, status, error in (
        (["show", "order"], 1, "answered 404: there is no pipeline 'order'"),
        (["rewind", "orders"], 2, "expected --to or --offset"),
        (["rewind", "orders", "--offset", "0:1"], 2, "found '0:1'; expected PARTITION=OFFSET, such as 0=4711"),
        (["rewind", "orders", "--to", "noon", "--dry-run"], 1, 'to.time: found "noon"'),
        (["rewind", "totals", "--to", "beginning", "--yes"], 1, "totals: expected --reset-state"),
    ):
        assert main(["pipelines", *arguments]) == status
        assert error in capsys.readouterr().err


def test_a_reload_replaces_the_pipelines_or_changes_nothing(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = Command(capsys)
    ran.until(lambda found: found["lag"] == 0)
    assert ran("reload").startswith("reloaded: nothing has changed\norders  ")
    process = service.settings.process
    more = process.model_copy(update={"pipelines": {**process.pipelines, "more": process.pipelines["orders"]}})
    changed = service.settings.model_copy(update={"process": more})
    service.read = lambda: changed
    assert "reloaded: process.pipelines\nmore  " in ran("reload")

    def faulty() -> ProcessSettings:
        raise SettingsError("trelay.yaml:3:1: process.pipelines: found no steps")

    service.read = faulty
    assert main(["pipelines", "reload"]) == 1
    assert "422: nothing has changed: trelay.yaml:3:1: process.pipelines: found no steps" in capsys.readouterr().err
    assert "\nmore " in ran("list")


def test_with_operators_a_token_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with Service(operators={"alice": {"token": TOKEN}}) as service:
        assert main(["pipelines", "list", "--url", service.url]) == 1
        assert "answered 401" in capsys.readouterr().err
        found = Command(capsys)("list", "--url", service.url, "--token", TOKEN, "--json")
        assert set(json.loads(found)) == {"orders", "totals"}


def test_a_shadow_is_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pipelines = {"orders": {"sources": ["orders"], "channel": "orders", "shadow": {"steps": [{"filter": "n > 2"}]}}}
    with Service(pipelines=pipelines) as service:
        monkeypatch.setenv("TRELAY_PROCESS_URL", service.url)
        ran = Command(capsys)
        assert ran("shadow", "orders").endswith(" on n: no events\n")
        assert main(["pipelines", "shadow", "other"]) == 1
        assert "no pipeline 'other' has a shadow" in capsys.readouterr().err
