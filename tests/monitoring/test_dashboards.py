"""The dashboards are current, and every query finds series of a running Trelay."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from services.cli import main
from services.standalone.embedded.process import ServerMissing
from tests.e2e.test_standalone import push, running
from tests.monitoring import promql
from tests.monitoring.dashboards import DASHBOARDS, files
from tests.monitoring.rules import FOLDER
from tests.servers.prometheus import PrometheusServer, prometheus_server

QUERIES = [
    (dashboard.uid, panel.title, expr)
    for dashboard in DASHBOARDS
    for panel in dashboard.panels
    for expr, _ in panel.queries
]
_VARIABLES = {"$__rate_interval": "30s", "$source": ".+"}

WITHOUT_SERIES = {
    ("trelay-platform", "Certificates expire in"),  # no TLS
    ("trelay-platform", "Mails that wait"),  # no mail server
    ("trelay-platform", "Events between the parts of pipelines"),  # no `repartition`
    ("trelay-subscribers", "Connections that end, by reason"),  # none ends
    ("trelay-owners", "Webhooks, by outcome"),  # no webhook
    ("trelay-owners", "Webhook deliveries that wait"),
}
"""The only panels that are empty in the examples, where nothing is at fault."""


@pytest.mark.parametrize("path", files(), ids=lambda path: "-".join(path.parts[-4:]))
def test_the_files_are_current(path: Path) -> None:
    assert path.read_text() == files()[path], "run `python -m tests.monitoring.dashboards`"


def test_the_dashboards_select_what_the_services_export() -> None:
    assert {fault for _, _, expr in QUERIES for fault in promql.faults(expr)} == set()


def test_panels_do_not_overlap_and_fit() -> None:
    for dashboard in DASHBOARDS:
        cells = [
            (x, y)
            for panel in dashboard.model()["panels"]
            for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
        ]
        assert len(cells) == len(set(cells))
        assert max(x for x, _ in cells) < 24


async def test_every_query_finds_series_of_a_running_trelay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async with running(tmp_path) as program:
        try:
            with prometheus_server([program.address], sorted(FOLDER.glob("*.yaml"))) as prometheus:
                empty = await _empty(prometheus, program.address)
        except ServerMissing as exc:
            pytest.skip(str(exc))
        assert {(dashboard, title) for dashboard, title, _ in empty} == WITHOUT_SERIES
        # `trelay status` sees the same deployment.
        assert await asyncio.to_thread(main, ["status", "--url", f"http://{program.address}", "--json"]) == 0
    status: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [replica["service"] for replica in status["replicas"]] == ["standalone"]
    assert status["sources"].keys() >= {"orders", "sensors", "stock"}
    assert {source["state"] for source in status["sources"].values()} == {"running"}
    assert status["pipelines"]["orders"]["published"] > 0


async def _empty(prometheus: PrometheusServer, address: str) -> list[tuple[str, str, str]]:
    """Return the queries without series, once no other ones are left, or after some time."""
    waiting = QUERIES
    for number in range(60):
        await _use(address, number)
        waiting = [query for query in waiting if not await asyncio.to_thread(prometheus.query, _plain(query[2]))]
        if {(dashboard, title) for dashboard, title, _ in waiting} <= WITHOUT_SERIES:
            break
        await asyncio.sleep(1)
    return waiting


async def _use(address: str, number: int) -> None:
    """Push an event, and send requests that are refused: some panels show what happens only."""
    await push(address, number)
    async with aiohttp.ClientSession(f"http://{address}") as session:
        for method, path in (("POST", "/consumers"), ("POST", "/tickets"), ("GET", "/ws/publish")):
            async with session.request(method, path) as answer:
                assert answer.status >= 400


def _plain(expr: str) -> str:
    for name, value in _VARIABLES.items():
        expr = expr.replace(name, value)
    return expr
