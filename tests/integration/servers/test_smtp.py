import ssl
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import pytest

from tests.servers.smtp import MailServer, smtp_server


def mail(subject: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "trelay@example.com"
    message["To"] = "devops@example.com"
    message["Subject"] = subject
    message.set_content("Grüße")
    return message


async def send(server: MailServer, subject: str = "down") -> None:
    await aiosmtplib.send(mail(subject), hostname=server.host, port=server.port, timeout=10)


async def test_a_mail_server_accepts_mails_or_a_variable_names_one(smtp_address: tuple[str, int]) -> None:
    host, port = smtp_address
    errors, _ = await aiosmtplib.send(mail("hello"), hostname=host, port=port, timeout=10)
    assert errors == {}


async def test_keeps_what_it_gets(smtp: MailServer) -> None:
    await send(smtp, "first")
    await send(smtp, "second")
    mails = await smtp.expect(2)
    assert [each.message["Subject"] for each in mails] == ["first", "second"]
    assert mails[0].recipients == ("devops@example.com",)
    assert mails[0].message.get_content() == "Grüße\n"
    assert not mails[0].encrypted
    assert mails[0].user is None


async def test_refuses_on_request(smtp: MailServer) -> None:
    smtp.refuse_with = "451 later"
    with pytest.raises(aiosmtplib.SMTPDataError) as refused:
        await send(smtp)
    assert refused.value.code == 451
    assert smtp.mails == []
    smtp.refuse_with = None
    await send(smtp)
    assert len(smtp.mails) == 1


async def test_delays_its_responses_on_request(smtp: MailServer) -> None:
    smtp.answering.clear()
    with pytest.raises(aiosmtplib.SMTPTimeoutError):
        await aiosmtplib.send(mail("slow"), hostname=smtp.host, port=smtp.port, timeout=0.2)
    smtp.answering.set()
    await send(smtp)


async def test_it_stops_and_returns_at_the_same_address(smtp: MailServer) -> None:
    smtp.down()
    with pytest.raises(aiosmtplib.SMTPConnectError):
        await send(smtp)
    smtp.up()
    await send(smtp)
    assert len(smtp.mails) == 1


async def test_requires_encryption_and_login_on_request(tmp_path: Path) -> None:
    with smtp_server(login=("trelay", "secret"), authority_file=tmp_path / "ca.pem") as server:
        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        with pytest.raises(aiosmtplib.SMTPAuthenticationError):
            await aiosmtplib.send(
                mail("wrong"),
                hostname=server.host,
                port=server.port,
                start_tls=True,
                tls_context=context,
                username="trelay",
                password="wrong",
            )
        with pytest.raises(aiosmtplib.SMTPResponseException):
            await aiosmtplib.send(mail("plain"), hostname=server.host, port=server.port, start_tls=False)
        await aiosmtplib.send(
            mail("right"),
            hostname=server.host,
            port=server.port,
            start_tls=True,
            tls_context=context,
            username="trelay",
            password="secret",
        )
        (kept,) = server.mails
        assert kept.encrypted
        assert kept.user == "trelay"
