"""Certificates for Kafka that are renewed while connections are opened."""

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from shared.bus.kafka.client.tls import BrokerTls
from shared.bus.kafka.options import KafkaConnectionOptions
from shared.errors import SettingsError
from shared.runtime.clock import SystemClock
from tests.unit.shared.http.test_tls import both_ends


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def options(authority: trustme.CA, tmp_path: Path) -> KafkaConnectionOptions:
    """The files of a user, as a Secret has them."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    issue(authority, tmp_path, "first")
    return KafkaConnectionOptions(
        servers="kafka:9093",
        security_protocol="SSL",
        ca_file=tmp_path / "ca.crt",
        cert_file=tmp_path / "user.crt",
        key_file=tmp_path / "user.key",
    )


def issue(authority: trustme.CA, folder: Path, user: str) -> None:
    issued = authority.issue_cert(common_name=user)
    (folder / "user.crt").write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    (folder / "user.key").write_bytes(issued.private_key_pem.bytes())


def user_of(client: ssl.SSLContext, authority: trustme.CA) -> str:
    """Shake hands with a broker, and return the user that it sees."""
    broker = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    broker.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(broker)
    authority.issue_cert("localhost").configure_cert(broker)
    _, seen = both_ends(broker, client)
    certificate = seen.getpeercert()
    assert certificate is not None
    subject: Any = certificate["subject"]
    return str(dict(pair for names in subject for pair in names)["commonName"])


def test_a_renewed_certificate_is_used_for_the_next_connection(
    options: KafkaConnectionOptions, authority: trustme.CA, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tls = BrokerTls(options)
    assert user_of(tls.context, authority) == "first"
    tls.reload()
    assert not caplog.records
    issue(authority, tmp_path, "second")
    tls.reload()
    assert user_of(tls.context, authority) == "second"
    assert [record.message for record in caplog.records] == ["certificate reloaded"]


def test_a_replaced_authority_is_trusted(options: KafkaConnectionOptions, tmp_path: Path) -> None:
    tls = BrokerTls(options)
    replaced = trustme.CA()
    with pytest.raises(ssl.SSLError):
        user_of(tls.context, replaced)
    replaced.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    issue(replaced, tmp_path, "second")
    tls.reload()
    assert user_of(tls.context, replaced) == "second"


def test_files_that_cannot_be_used_change_nothing_and_are_logged_once(
    options: KafkaConnectionOptions, authority: trustme.CA, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tls = BrokerTls(options)
    (tmp_path / "user.key").write_text("no key")
    for _ in range(3):
        tls.reload()
    assert user_of(tls.context, authority) == "first"
    assert [record.message for record in caplog.records] == ["changed certificate is not used"]
    issue(authority, tmp_path, "second")
    tls.reload()
    assert user_of(tls.context, authority) == "second"


def test_files_that_cannot_be_used_at_the_start_are_named(options: KafkaConnectionOptions, tmp_path: Path) -> None:
    (tmp_path / "user.crt").unlink()
    with pytest.raises(SettingsError, match=r"bus: ca_file .*, cert_file .*user\.crt, key_file .* cannot be used"):
        BrokerTls(options)


class Ticks(SystemClock):
    """Time passes at once, and ends after some sleeps."""

    def __init__(self, count: int) -> None:
        self._left = count

    async def sleep(self, _seconds: float) -> None:
        if not self._left:
            raise asyncio.CancelledError
        self._left -= 1


async def test_the_files_are_followed(options: KafkaConnectionOptions, authority: trustme.CA, tmp_path: Path) -> None:
    tls = await asyncio.to_thread(BrokerTls, options)
    issue(authority, tmp_path, "second")
    with pytest.raises(asyncio.CancelledError):
        await tls.follow(Ticks(2))
    assert user_of(tls.context, authority) == "second"
