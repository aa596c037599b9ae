"""Mails that are sent, delayed, refused and kept."""

import asyncio
import json
import shutil
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from shared.alerts import AlertOptions, Alerts, SmtpOptions, alerting
from shared.http.health import Readiness
from tests.servers.smtp import MailServer


def options(server: MailServer, **more: object) -> AlertOptions:
    smtp = SmtpOptions(host=server.host, port=server.port, security="none", timeout=120)
    given = {"smtp": smtp, "recipients": ["devops@example.com"], "group_wait": 0.05, "resolve_wait": 0, **more}
    return AlertOptions.model_validate(given)


async def reported(readiness: Readiness, *, works: bool) -> None:
    async with asyncio.timeout(60):
        while ("mail" not in readiness.notes()) is not works:
            await asyncio.sleep(0.01)


async def test_one_mail_reports_the_beginning_and_one_the_end(smtp: MailServer) -> None:
    registry = CollectorRegistry()
    async with alerting(options(smtp), registry=registry) as alerts:
        alerts.begin("source", "orders", "connection refused")
        alerts.begin("source", "rates", "connection refused")
        (began,) = await smtp.expect(1)
        assert began.recipients == ("devops@example.com",)
        assert began.message["Subject"] == "[trelay] 2 new"
        alerts.end("source", "orders", "answers again")
        _, ended = await smtp.expect(2)
        assert ended.message["Subject"] == "[trelay] resolved: source orders: answers again"
        assert "Ongoing" in str(ended.message.get_content())
    assert len(smtp.mails) == 2
    assert registry.get_sample_value("trelay_mails_sent_total") == 2


async def test_a_problem_that_lasts_is_reported_again(smtp: MailServer) -> None:
    async with alerting(options(smtp, repeat_interval=0.2)) as alerts:
        alerts.begin("source", "orders", "connection refused")
        mails = await smtp.expect(3)
    assert [mail.message["Subject"] for mail in mails[1:3]] == ["[trelay] 1 ongoing"] * 2


async def test_a_flood_of_alerts_is_not_a_flood_of_mails(smtp: MailServer) -> None:
    async with alerting(options(smtp, mails_per_hour=3)) as alerts:
        begun = time.thread_time()
        for number in range(20_000):
            alerts.event("consumer sends", f"client {number % 5000}", "12 bytes")
            alerts.begin("source", f"s{number}", "refused")
            if number % 2000 == 0:
                await asyncio.sleep(0.06)  # without a budget, a mail would be sent now and then
        took = time.thread_time() - begun
    assert 1 <= len(smtp.mails) <= 3
    assert took < 10


async def test_a_server_that_is_down_blocks_no_call_and_gets_the_mail_later(smtp: MailServer) -> None:
    readiness = Readiness()
    smtp.down()
    async with alerting(options(smtp), readiness=readiness) as alerts:
        alerts.begin("source", "orders", "connection refused")
        await reported(readiness, works=False)
        assert readiness.ready
        assert readiness.notes()["mail"].startswith(f"mail server 127.0.0.1:{smtp.port}: ")
        smtp.up()
        (mail,) = await smtp.expect(1)
        assert "orders" in mail.message["Subject"]
        await reported(readiness, works=True)


async def test_a_server_that_is_down_is_reported_before_there_is_a_mail(smtp: MailServer) -> None:
    readiness = Readiness()
    smtp.down()
    async with alerting(options(smtp), readiness=readiness):
        await reported(readiness, works=False)
        smtp.up()
        await reported(readiness, works=True)
    assert smtp.mails == []


async def test_a_server_that_is_slow_blocks_no_call(smtp: MailServer) -> None:
    smtp.answering.clear()
    async with alerting(options(smtp)) as alerts:
        alerts.begin("source", "orders", "connection refused")
        assert await asyncio.to_thread(smtp.asked.wait, 60)
        begun = time.perf_counter()
        alerts.end("source", "orders")
        assert time.perf_counter() - begun < 60  # a call that waited for the answer would time out after 120 s
        assert smtp.mails == []
        smtp.answering.set()
        await smtp.expect(2)


async def test_a_temporary_refusal_is_retried_and_a_permanent_one_is_not(
    smtp: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    readiness, registry = Readiness(), CollectorRegistry()
    async with alerting(options(smtp), readiness=readiness, registry=registry) as alerts:
        smtp.refuse_with = "451 later"
        alerts.event("x", "first", "text")
        await reported(readiness, works=False)
        smtp.refuse_with = None
        assert "first" in (await smtp.expect(1))[0].message["Subject"]
        smtp.refuse_with = "554 never"
        alerts.event("x", "second", "text")
        async with asyncio.timeout(60):
            while not registry.get_sample_value("trelay_mails_refused_total"):
                await asyncio.sleep(0.01)
        smtp.refuse_with = None
        alerts.event("x", "third", "text")
        assert "third" in (await smtp.expect(2))[1].message["Subject"]
    (line,) = (record for record in caplog.records if record.name.startswith("shared.alerts"))
    assert line.message == "mail refused, dropping it"
    assert "554 never" in line.__dict__["error"]


async def test_mails_in_a_folder_survive_a_restart_and_so_does_the_budget(smtp: MailServer, tmp_path: Path) -> None:
    def process() -> AbstractAsyncContextManager[Alerts]:
        return alerting(options(smtp, spool=tmp_path / "spool", mails_per_hour=2))

    smtp.down()
    async with process() as alerts:
        alerts.begin("source", "orders", "connection refused")
    assert len(list((tmp_path / "spool").glob("*.eml"))) == 1
    smtp.up()
    async with process() as alerts:
        (mail,) = await smtp.expect(1)
        assert "orders" in mail.message["Subject"]
        alerts.begin("source", "stock", "connection refused")
        await smtp.expect(2)
    for number in range(5):
        async with process() as alerts:
            alerts.begin("source", f"s{number}", "connection refused")
            await asyncio.sleep(0.1)  # longer than group_wait: there is no event to wait for when no mail is sent
    assert len(smtp.mails) == 2


async def test_a_problem_that_outlives_a_restart_begins_once_and_ends_once(smtp: MailServer, tmp_path: Path) -> None:
    def process() -> AbstractAsyncContextManager[Alerts]:
        return alerting(options(smtp, spool=tmp_path / "spool"))

    async with process() as alerts:
        alerts.begin("source", "orders", "connection refused")
        await smtp.expect(1)
    async with process() as alerts:
        alerts.begin("source", "orders", "connection refused")
    async with process() as alerts:
        alerts.begin("source", "orders", "connection refused")
        alerts.end("source", "orders", "answers again")
        began, ended = await smtp.expect(2)
    assert "source orders: connection refused" in began.message["Subject"]
    assert "resolved: source orders: answers again" in ended.message["Subject"]
    async with process() as alerts:
        alerts.event("x", "y", "z")
        last = (await smtp.expect(3))[2]
    assert "orders" not in last.message.get_content()


async def test_a_folder_that_fails_later_does_not_stop_the_mails(
    smtp: MailServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "spool"
    async with alerting(options(smtp, spool=folder)) as alerts:
        alerts.event("x", "first", "text")
        await smtp.expect(1)
        shutil.rmtree(folder)
        alerts.event("x", "second", "text")
        await smtp.expect(2)
    assert "spool folder failed, keeping mails in memory" in caplog.messages


async def test_a_folder_that_fails_keeps_no_mail_back_and_sends_none_twice(smtp: MailServer, tmp_path: Path) -> None:
    folder, readiness = tmp_path / "spool", Readiness()
    smtp.down()
    async with alerting(options(smtp, spool=folder), readiness=readiness) as alerts:
        alerts.event("x", "first", "text")
        async with asyncio.timeout(60):
            while not (folder / "state.json").exists():
                await asyncio.sleep(0.01)
        (folder / "state.json").unlink()
        (folder / "state.json").mkdir()  # the mail can be written, and what is written after it cannot
        alerts.event("x", "second", "text")
        async with asyncio.timeout(60):
            while len(list(folder.glob("*.eml"))) < 2:
                await asyncio.sleep(0.01)
        smtp.up()
        mails = await smtp.expect(2)
        assert [str(mail.message["Subject"]) for mail in mails] == ["[trelay] x first: text", "[trelay] x second: text"]
        async with asyncio.timeout(60):
            while list(folder.glob("*.eml")):
                await asyncio.sleep(0.01)
    assert len(smtp.mails) == 2


async def test_what_begins_while_the_server_does_not_answer_is_kept_for_the_next_process(
    smtp: MailServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    smtp.answering.clear()
    async with alerting(options(smtp, spool=tmp_path)) as alerts:
        alerts.begin("source", "orders", "connection refused")
        assert await asyncio.to_thread(smtp.asked.wait, 60)
        alerts.begin("source", "rates", "connection refused")
    mails = [path.read_text() for path in sorted(tmp_path.glob("*.eml"))]
    assert len(mails) == 2
    assert "rates" in mails[1]
    (line,) = (record for record in caplog.records if record.message == "stopping with unsent mails")
    assert (line.__dict__["count"], line.__dict__["kept"]) == (2, True)
    assert "task still running after cancel; cancelling again" not in caplog.messages


async def test_a_problem_that_is_handed_over_is_not_restored(smtp: MailServer, tmp_path: Path) -> None:
    async with alerting(options(smtp, spool=tmp_path)) as alerts:
        alerts.begin("source", "orders", "connection refused")
        await smtp.expect(1)
        alerts.hand_over("source", "orders")
    assert json.loads((tmp_path / "state.json").read_bytes())["open"] == []
    async with alerting(options(smtp, spool=tmp_path)) as alerts:
        alerts.adopt("source", "rates", "connection refused", 1.0)
    assert json.loads((tmp_path / "state.json").read_bytes())["open"] == [
        ["source", "rates", "connection refused", 1.0]
    ]
    assert len(smtp.mails) == 1
