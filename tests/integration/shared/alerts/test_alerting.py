"""Alerts from the call to the mail server."""

from pathlib import Path

import pytest

from shared.alerts import AlertOptions, alerting
from shared.errors import SettingsError
from shared.http.health import Readiness
from tests.integration.shared.alerts.test_mailer import options
from tests.servers.smtp import MailServer


async def test_pending_alerts_are_sent_at_the_end(smtp: MailServer) -> None:
    async with alerting(options(smtp, group_wait=1000)) as alerts:
        alerts.event("consumer sends", "client demo", "12 bytes")
    await smtp.expect(1)


async def test_a_folder_that_cannot_be_written_is_an_error_of_the_settings(smtp: MailServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SettingsError, match=r"^alerts\.spool: .*/file/spool cannot be written: "):
        async with alerting(options(smtp, spool=tmp_path / "file" / "spool")):
            pass


async def test_alerts_work_without_a_mail_server() -> None:
    readiness = Readiness()
    async with alerting(AlertOptions(), readiness=readiness) as alerts:
        alerts.begin("source", "orders", "connection refused")
        alerts.event("x", "y", "z")
        alerts.end("source", "orders")
    assert readiness.parts() == {}
