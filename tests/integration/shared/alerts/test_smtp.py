"""The SMTP session, and its errors."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from services.standalone.embedded.process import free_port
from shared.alerts import SmtpOptions
from shared.alerts.smtp import MailServer, probe
from shared.errors import Malformed, SettingsError, Unauthorized, Unavailable
from tests.servers.smtp import MailServer as RealServer
from tests.servers.smtp import smtp_server

MAIL = b"Subject: hello\r\n\r\nworld\r\n"


def plain(server: RealServer) -> SmtpOptions:
    return SmtpOptions(host=server.host, port=server.port, security="none", timeout=60)


async def test_a_mail_arrives_as_it_was_sent(smtp: RealServer) -> None:
    await MailServer(plain(smtp)).send("trelay@example.com", ["a@example.com", "b@example.com"], MAIL)
    (mail,) = await smtp.expect(1)
    assert (mail.sender, mail.recipients) == ("trelay@example.com", ("a@example.com", "b@example.com"))
    assert mail.message["Subject"] == "hello"
    assert mail.message.get_content() == "world\n"


async def test_starttls_with_authentication(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    with smtp_server(login=("trelay", "hunter2"), authority_file=authority) as server:
        options = SmtpOptions(
            host=server.host, port=server.port, ca_file=authority, user="trelay", password=SecretStr("hunter2")
        )
        await probe(options)
        await MailServer(options).send("t@example.com", ["a@example.com"], MAIL)
        (mail,) = await server.expect(1)
        assert mail.encrypted
        assert mail.user == "trelay"

        wrong = options.model_copy(update={"password": SecretStr("guessed")})
        with pytest.raises(Unauthorized, match=r"refuses user and password \(535\)") as refused:
            await probe(wrong)
        assert "guessed" not in str(refused.value)

        untrusting = options.model_copy(update={"ca_file": None})
        with pytest.raises(Unavailable, match="certificate verify failed"):
            await probe(untrusting)


async def test_a_server_without_tls_gets_no_mail_in_the_clear(smtp: RealServer) -> None:
    with pytest.raises(Unavailable, match="STARTTLS"):
        await probe(SmtpOptions(host=smtp.host, port=smtp.port))


@pytest.mark.parametrize(("answer", "error"), [("451 later", Unavailable), ("552 too large", Malformed)])
async def test_temporary_and_permanent_refusals_differ(smtp: RealServer, answer: str, error: type[Exception]) -> None:
    smtp.refuse_with = answer
    with pytest.raises(error, match=answer):
        await MailServer(plain(smtp)).send("t@example.com", ["a@example.com"], MAIL)


async def test_the_error_names_a_server_that_is_down() -> None:
    options = SmtpOptions(host="127.0.0.1", port=free_port(), security="none")
    with pytest.raises(Unavailable, match=rf"^mail server 127\.0\.0\.1:{options.port}: "):
        await probe(options)


async def test_a_server_that_does_not_answer_times_out(smtp: RealServer) -> None:
    smtp.answering.clear()
    with pytest.raises(Unavailable, match="imed out"):
        await MailServer(plain(smtp).model_copy(update={"timeout": 0.2})).send("t@b.c", ["a@b.c"], MAIL)


async def test_a_ca_file_that_is_not_usable_is_an_error_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no certificate")
    for ca in (tmp_path / "no.pem", tmp_path / "absent.pem"):
        with pytest.raises(SettingsError, match=r"^alerts\.smtp\.ca_file: .*pem is not a usable CA bundle: "):
            await probe(SmtpOptions(host="127.0.0.1", port=1, ca_file=ca))


async def test_recipients_that_are_refused_are_logged_and_the_others_get_the_mail(
    smtp: RealServer, caplog: pytest.LogCaptureFixture
) -> None:
    smtp.unknown = {"b@example.com"}
    await MailServer(plain(smtp)).send("t@example.com", ["a@example.com", "b@example.com"], MAIL)
    (mail,) = await smtp.expect(1)
    assert mail.recipients == ("a@example.com",)
    (line,) = (record for record in caplog.records if record.name.startswith("shared.alerts"))
    assert line.message == "mail server refuses some recipients"
    assert line.__dict__["errors"] == ["b@example.com: 550 unknown"]
    smtp.unknown = {"a@example.com", "b@example.com"}
    with pytest.raises(Unavailable, match=r"a@example\.com: 550 unknown; b@example\.com: 550 unknown"):
        await MailServer(plain(smtp)).send("t@example.com", ["a@example.com", "b@example.com"], MAIL)
