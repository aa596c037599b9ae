"""Notifications through Apprise, to a webhook on the loopback."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from shared.alerts import AlertOptions, alerting
from shared.alerts.notifier import Notifier
from shared.errors import SettingsError
from shared.http.health import Readiness
from tests.integration.shared.alerts.test_mailer import options
from tests.servers.smtp import MailServer


class Webhook:
    """A service that takes notifications."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.status = 200
        self.url = ""
        self.asked = asyncio.Event()

    async def handle(self, request: web.Request) -> web.Response:
        if self.status == 200:
            self.received.append(await request.json())
        self.asked.set()
        return web.Response(status=self.status)

    async def expect(self, count: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(60):
            while len(self.received) < count:
                self.asked.clear()
                await self.asked.wait()
        return self.received


@pytest.fixture
async def webhook() -> AsyncIterator[Webhook]:
    found = Webhook()
    app = web.Application()
    app.router.add_post("/hook", found.handle)
    async with TestServer(app, host="127.0.0.1") as server:
        found.url = f"json://127.0.0.1:{server.port}/hook"
        yield found


def notifying(*urls: str, **more: object) -> AlertOptions:
    return AlertOptions.model_validate({"notify": urls, "group_wait": 0.05, "resolve_wait": 0, **more})


async def test_a_problem_is_notified_at_its_beginning_and_at_its_end(webhook: Webhook) -> None:
    registry, readiness = CollectorRegistry(), Readiness()
    async with alerting(notifying(webhook.url), registry=registry, readiness=readiness) as alerts:
        alerts.begin("source", "orders", "connection refused")
        (began,) = await webhook.expect(1)
        assert began["title"] == "[trelay] source orders: connection refused"
        assert "orders: connection refused" in began["message"]
        assert began["type"] == "failure"
        alerts.end("source", "orders", "answers again")
        _, ended = await webhook.expect(2)
        assert ended["title"] == "[trelay] resolved: source orders: answers again"
        assert ended["type"] == "success"
    assert registry.get_sample_value("trelay_notifications_sent_total", {"service": "json"}) == 2
    assert readiness.parts() == {"notify/json": True}


async def test_a_service_that_refuses_delays_nobody_and_gets_it_later(webhook: Webhook, smtp: MailServer) -> None:
    readiness = Readiness()
    webhook.status = 503
    given = options(smtp).model_copy(update={"notify": [SecretStr(webhook.url)]})
    async with alerting(given, readiness=readiness) as alerts:
        alerts.begin("source", "orders", "connection refused")
        await smtp.expect(1)
        async with asyncio.timeout(60):
            await webhook.asked.wait()
        webhook.status = 200
        await webhook.expect(1)
        async with asyncio.timeout(60):
            while not readiness.parts()["notify/json"]:
                await asyncio.sleep(0.01)
    assert len(webhook.received) == 1


async def test_each_service_has_its_own_folder_and_name(webhook: Webhook, tmp_path: Path) -> None:
    readiness = Readiness()
    given = notifying(webhook.url, webhook.url, spool=tmp_path)
    async with alerting(given, readiness=readiness) as alerts:
        alerts.event("consumer sends", "client demo", "12 bytes")
        assert not alerts.reported("source", "orders")
        await webhook.expect(2)
    assert readiness.parts().keys() == {"notify/json", "notify/json-2"}
    assert {path.name for path in tmp_path.iterdir()} == {"notify-json", "notify-json-2"}


async def test_a_url_that_apprise_does_not_know_is_named_without_its_secrets() -> None:
    with pytest.raises(SettingsError, match=r"^alerts\.notify\.1: found a URL that Apprise does not know") as raised:
        async with alerting(notifying("json://127.0.0.1/a", "slak://secret-token")):
            pass
    assert "secret-token" not in str(raised.value)


async def test_a_probe_notifies_nobody(webhook: Webhook) -> None:
    notifier = await asyncio.to_thread(Notifier, SecretStr(webhook.url), "alerts.notify.0")
    await notifier.probe()
    assert not webhook.asked.is_set()


async def test_a_plugin_that_fails_is_tried_again_and_names_no_secret(
    webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    readiness = Readiness()
    with monkeypatch.context() as patched:

        def fail(*_args: object, **_kwargs: object) -> bool:
            raise KeyError(f"{webhook.url}?token=secret-token")

        patched.setattr("apprise.plugins.custom_json.NotifyJSON.send", fail)
        async with alerting(notifying(webhook.url), readiness=readiness) as alerts:
            alerts.begin("source", "orders", "connection refused")
            async with asyncio.timeout(60):
                while readiness.parts()["notify/json"]:
                    await asyncio.sleep(0.01)
            assert readiness.notes()["notify/json"] == "json could not be notified: KeyError"
            patched.undo()
            await webhook.expect(1)
