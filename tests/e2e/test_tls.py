"""TLS at the listeners of real processes: one on the PostgreSQL bus that serves subscribers, and all three services."""

import asyncio
import json
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
import websockets
from cryptography import x509

from services.experience_api.auth.clients import add_client
from services.experience_api.registry.postgres import PostgresRegistry
from services.standalone.embedded.process import free_port
from shared.database.options import DatabaseOptions
from tests.e2e.deployments import write_settings
from tests.e2e.programs import Program

pytestmark = pytest.mark.timeout(900)

CLIENT, SECRET = "guest", "a secret of the tests"


class Deployment:
    """The three services, each alone, on the PostgreSQL bus, with one certificate."""

    def __init__(self, folder: Path, database: DatabaseOptions, authority: trustme.CA) -> None:
        self.authority = authority
        self.trust = ssl.create_default_context(cafile=folder / "ca.pem")
        self.ports = {name: free_port() for name in ("system", "process", "experience")}
        self.folder = folder
        tls = {"cert_file": "server.pem", "key_file": "server.key", "reload_interval": 3600}
        self.settings: dict[str, Any] = {
            "database": {"url": database.url},
            "bus": {"kind": "postgres"},
            "reload": {"on_change": False},
        }
        for name, port in self.ports.items():
            self.settings[name] = {"listen": {"port": port, "tls": tls}}
        self.settings["experience"]["entity"] = {"allow": ["127.0.0.0/8"]}
        config = write_settings(folder, self.settings)
        self.programs = [
            Program(
                name,
                ["-m", f"services.{name}_api", "--config", str(config)],
                f"https://127.0.0.1:{port}/readyz",
                folder / f"{name}.log",
            )
            for name, port in self.ports.items()
        ]

    @property
    def experience(self) -> str:
        return f"127.0.0.1:{self.ports['experience']}"


def issue(authority: trustme.CA, folder: Path) -> int:
    """Write a new certificate with its key, and return its serial number."""
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    certificate.private_key_pem.write_to_path(str(folder / "server.key"))
    for place, blob in enumerate(certificate.cert_chain_pems):
        blob.write_to_path(str(folder / "server.pem"), append=place > 0)
    return x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes()).serial_number


@pytest.fixture
async def deployment(tmp_path: Path, migrated_database: DatabaseOptions) -> AsyncIterator[Deployment]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    issue(authority, tmp_path)
    async with PostgresRegistry.opened(migrated_database) as registry:
        await add_client(registry, CLIENT, secret=SECRET)
    found = Deployment(tmp_path, migrated_database, authority)
    try:
        for program in found.programs:
            program.start()
        for program in found.programs:
            await ready(program, found.trust)
        yield found
    finally:
        for program in found.programs:
            program.kill()


async def ready(program: Program, trust: ssl.SSLContext) -> None:
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(program.ready_url, ssl=trust) as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                assert "Traceback" not in program.tail()
            await asyncio.sleep(0.05)


async def test_what_a_subscriber_sends_and_gets_is_encrypted(deployment: Deployment, tmp_path: Path) -> None:
    url, trust = f"https://{deployment.experience}", deployment.trust
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
        headers = {"client_id": CLIENT, "client_secret": SECRET}
        async with session.post(f"{url}/consumers", headers=headers) as answer:
            assert answer.status == 201
            token = (await answer.json())["token"]
        bearer = {"Authorization": f"Bearer {token}"}
        address = f"wss://{deployment.experience}/ws/publish"
        async with websockets.connect(address, additional_headers=bearer, ssl=trust, proxy=None) as socket:
            assert json.loads(await socket.recv())["type"] == "trelay.connected"
            async with session.post(f"{url}/entity?channel=a", json={"n": 1}) as answer:
                assert answer.status == 202
            assert json.loads(await socket.recv())["data"] == {"n": 1}
    await clients_without_tls_or_without_the_authority_get_nothing(deployment)
    command = ["-m", "services.cli", "subscribe", url, "--client-id", CLIENT, "--client-secret", SECRET, "--count", "1"]
    command += ["--ca-file", str(tmp_path / "ca.pem"), "--cursor-file", str(tmp_path / "cursor")]
    subscribing = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert subscribing.stderr is not None
    async with asyncio.timeout(60):
        while b"connected, to" not in await subscribing.stderr.readline():
            assert subscribing.returncode is None
        push = f"{url}/entity?channel=a"
        async with aiohttp.ClientSession() as session, session.post(push, json={"n": 2}, ssl=trust) as answer:
            assert answer.status == 202
        out, _ = await subscribing.communicate()
    assert json.loads(out)["data"] == {"n": 2}
    assert [await program.stop() for program in deployment.programs] == [0, 0, 0]


async def clients_without_tls_or_without_the_authority_get_nothing(deployment: Deployment) -> None:
    async with aiohttp.ClientSession() as session:
        for name, port in deployment.ports.items():
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.get(f"https://127.0.0.1:{port}/healthz")
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.get(f"http://127.0.0.1:{port}/healthz")
            async with session.get(f"https://127.0.0.1:{port}/healthz", ssl=deployment.trust) as answer:
                assert answer.status == 200, name


async def test_sighup_reloads_certificates_and_log_settings_and_ends_nothing(deployment: Deployment) -> None:
    before = serial_numbers(deployment)
    issued = issue(deployment.authority, deployment.folder)
    write_settings(deployment.folder, deployment.settings | {"logs": {"level": "debug"}, "alerts": {"name": "other"}})
    for program in deployment.programs:
        assert (await said(program, "reloaded"))["parts"] == [
            "logs",
            f"certificate {deployment.folder / 'server.pem'}",
        ]
        (restart,) = lines(program, "changed settings need a restart")
        assert restart["settings"] == ["alerts.name"]
    assert before != serial_numbers(deployment) == dict.fromkeys(deployment.ports, issued)
    # A certificate that cannot be used is logged, and the loaded one stays.
    (deployment.folder / "server.key").write_text("no key")
    (deployment.folder / "trelay.yaml").write_text("logs: {level: loud}")
    for program in deployment.programs:
        assert (await said(program, "reloaded"))["parts"] == []
        (refused,) = lines(program, "changed settings are not used")
        assert "logs.level: expected" in refused["error"]
        (unusable,) = lines(program, "changed certificate is not used")
        assert "server.key" in unusable["error"]
    assert serial_numbers(deployment) == dict.fromkeys(deployment.ports, issued)
    assert [await program.stop() for program in deployment.programs] == [0, 0, 0]
    for program in deployment.programs:
        assert program.starts == 1


def serial_numbers(deployment: Deployment) -> dict[str, int]:
    found = {}
    for name, port in deployment.ports.items():
        pem = ssl.get_server_certificate(("127.0.0.1", port))
        found[name] = x509.load_pem_x509_certificate(pem.encode()).serial_number
    return found


def lines(program: Program, message: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in program.log.read_text().splitlines()]
    return [line for line in found if line["message"] == message]


async def said(program: Program, message: str) -> dict[str, Any]:
    """Send SIGHUP, and return the next line with this message."""
    before = len(lines(program, message))
    os.kill(program.pid, signal.SIGHUP)
    async with asyncio.timeout(60):
        while len(found := lines(program, message)) == before:
            assert (status := program.status) is None, f"{program.name} ended with {status}"
            await asyncio.sleep(0.02)
    return found[-1]


@pytest.mark.parametrize("service", ["system", "process", "experience"])
async def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path, service: str) -> None:
    certificate, other = trustme.CA().issue_cert("127.0.0.1"), trustme.CA().issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "server.pem"))
    other.private_key_pem.write_to_path(str(tmp_path / "server.key"))
    tls = {"cert_file": "server.pem", "key_file": "server.key"}
    config = write_settings(tmp_path, {service: {"listen": {"port": 0, "tls": tls}}})
    command = [sys.executable, "-m", f"services.{service}_api", "--config", str(config)]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, err = await process.communicate()
    assert process.returncode == 2
    last = err.decode().splitlines()[-1]
    assert str(tmp_path / "server.pem") in last
    assert "PRIVATE KEY" not in err.decode()
    assert "Traceback" not in err.decode()
