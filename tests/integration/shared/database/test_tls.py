"""Connections that check the certificate of the server. The server of the wheel is built without TLS."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from services.standalone.embedded.postgres import PostgresServer
from shared.database.options import DatabaseOptions, DatabaseTlsOptions
from shared.database.pool import ConnectionPool
from shared.errors import Unavailable
from tests.servers.missing import skipping_without
from tests.servers.postgres import postgres_server


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server(
    authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[PostgresServer]:
    folder = tmp_path_factory.mktemp("certificates")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "key.pem").chmod(0o600)
    settings = {"ssl": "on", "ssl_cert_file": str(folder / "cert.pem"), "ssl_key_file": str(folder / "key.pem")}
    with (
        skipping_without("PostgreSQL (system)", request.config),
        postgres_server("system", settings=settings) as server,
    ):
        yield server


async def encrypted(server: PostgresServer, tls: DatabaseTlsOptions | None) -> bool:
    options = DatabaseOptions(url=server.dsn(), tls=tls)
    async with ConnectionPool.opened(options, size=1, purpose="test") as pool, pool.use() as connection:
        found: bool = await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        return found


async def test_a_server_with_a_certificate_of_the_authority_is_accepted(
    server: PostgresServer, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    assert await encrypted(server, DatabaseTlsOptions(ca_file=tmp_path / "ca.pem"))


@pytest.mark.parametrize("ca", ["another's", "the system's"])
async def test_a_server_with_a_certificate_of_another_authority_is_refused(
    server: PostgresServer, ca: str, tmp_path: Path
) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = DatabaseTlsOptions(ca_file=tmp_path / "ca.pem" if ca == "another's" else None)
    with pytest.raises(Unavailable, match="certificate verify failed"):
        await encrypted(server, tls)


async def test_without_verification_traffic_is_encrypted(server: PostgresServer) -> None:
    assert await encrypted(server, DatabaseTlsOptions(verify=False))


async def test_without_tls_traffic_is_not_encrypted(server: PostgresServer) -> None:
    assert not await encrypted(server, None)
