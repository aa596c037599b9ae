"""Redirects, addresses and TLS, against a real server."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from shared.errors import SettingsError, TrelayError, Unavailable
from shared.http.client import connecting
from shared.http.client.failures import UnusableResponse
from tests.integration.shared.http.client.http_client import client, fails
from tests.servers.http_api import HttpApi, http_api

# Redirects and addresses


async def test_a_redirect_keeps_the_credentials_on_the_same_host(api: HttpApi) -> None:
    api.answer("/a", (302, {"Location": "/b"}, None))
    api.answer("/b", {"ok": True})
    auth = {"kind": "api_key", "name": "key", "value": "k3y", "place": "query"}
    async with client(api.url(), auth=auth, headers={"X-Tenant": "t"}) as opened:
        response = await opened.get(URL(api.url("/a?x=1")))
    assert response.body == b'{"ok": true}'
    assert str(response.url) == api.url("/b")
    assert api.paths() == ["/a?x=1&key=k3y", "/b?key=k3y"]
    assert [request.headers.get("X-Tenant") for request in api.requests] == ["t", "t"]


@pytest.mark.parametrize(
    "auth",
    [
        {"kind": "bearer", "token": "s3cret"},
        {"kind": "basic", "username": "me", "password": "s3cret"},
        {"kind": "api_key", "name": "X-Key", "value": "s3cret"},
        {"kind": "api_key", "name": "key", "value": "s3cret", "place": "query"},
    ],
)
async def test_a_redirect_to_another_host_gets_no_credentials(api: HttpApi, auth: Any) -> None:
    api.answer("/a", (307, {"Location": api.url("/b", host="localhost")}, None))
    api.answer("/b", {"ok": True})
    async with client(api.url(), auth=auth, headers={"X-Tenant": "s3cret"}) as opened:
        await opened.get(URL(api.url("/a")))
    first, second = api.requests
    assert "s3cret" in str(first.rel_url) + str(first.headers) or "Basic" in first.headers["Authorization"]
    assert "s3cret" not in str(second.rel_url) + str(second.headers)
    assert "Authorization" not in second.headers
    assert "X-Tenant" not in second.headers


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("http://169.254.169.254/latest/meta-data", "169.254.169.254 is a cloud metadata address"),
        ("http://[::ffff:169.254.169.254]/", "is a cloud metadata address"),
        ("http://[fd00:ec2::254]/", "is a cloud metadata address"),
        ("http://10.0.0.1/", "10.0.0.1 is a private address"),
        ("http://0.0.0.0:1/", "0.0.0.0 is an unspecified address"),
        ("http://[::1]/", "::1 is a loopback address"),
        ("http://internal.test/", "internal.test has the address 10.1.2.3, which is a private address"),
        ("http://metadata.test/", "metadata.test has the address 169.254.169.254, which is a cloud metadata address"),
        ("http://0x7f.2/", "0x7f.2 has the address 127.0.0.2, which is a loopback address"),
        ("http://0177.0.0.2/", None),
        ("http://2130706434/", None),
        ("http://127.2/", None),
        ("file:///etc/passwd", "expected http or https"),
        ("gopher://127.0.0.1/", "expected http or https"),
        ("http://user:pw@127.0.0.1/", "expected http or https"),
        ("http://[::1", "which is no URL"),
        ("", "expected http or https"),
    ],
)
async def test_a_redirect_leads_to_no_address_inside(
    api: HttpApi, location: str, error: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"internal.test": "10.1.2.3", "metadata.test": "169.254.169.254"}
    sockets = pretend_dns(monkeypatch, names)
    api.answer("/", (302, {"Location": location}, None))
    async with client(api.url(), network={"allow": ["127.0.0.1/32"]}) as opened:
        with pytest.raises(TrelayError) as caught:
            await opened.get(URL(api.url("/")))
    assert (error or "not a valid URL") in str(caught.value)
    assert {address for address, _ in sockets} <= {"127.0.0.1"}, "connected elsewhere"


def pretend_dns(monkeypatch: pytest.MonkeyPatch, names: dict[str, str]) -> list[tuple[str, int]]:
    """Answer for these names, and record the addresses that sockets were made for."""
    resolve = ThreadedResolver.resolve
    made: list[tuple[str, int]] = []
    gate = connecting.AddressGate.socket

    async def pretend(self: Any, host: str, port: int = 0, family: Any = 0) -> Any:
        return await resolve(self, names.get(host, host), port, family)

    def recorded(self: Any, info: Any) -> Any:
        found = gate(self, info)
        made.append(info[4][:2])
        return found

    monkeypatch.setattr(ThreadedResolver, "resolve", pretend)
    monkeypatch.setattr(connecting.AddressGate, "socket", recorded)
    return made


async def test_a_name_whose_address_changes_gets_no_connection(api: HttpApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: what is connected to is what was checked, each time."""
    names = {"api.test": "127.0.0.1"}
    sockets = pretend_dns(monkeypatch, names)
    api.answer("/", (200, {"Connection": "close"}, b"{}"))
    url = api.url("/", host="api.test")
    async with client(url, network={"allow": ["127.0.0.1"]}) as opened:
        await opened.get(URL(url))
        names["api.test"] = "169.254.169.254"
        with pytest.raises(SettingsError, match=r"api\.test has the address 169\.254\.169\.254, which is a cloud"):
            await opened.get(URL(url))
    assert sockets == [("127.0.0.1", api.port)]


async def test_a_host_that_is_allowed_by_name(api: HttpApi, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_dns(monkeypatch, {"crm.internal": "127.0.0.1"})
    api.answer("/", {"ok": True})
    url = api.url("/", host="crm.internal")
    async with client(url, network={"allow": ["crm.internal"]}) as opened:
        assert (await opened.get(URL(url))).status == 200


async def test_too_many_redirects_are_an_error(api: HttpApi) -> None:
    api.answer("/", (302, {"Location": "/"}, None))
    assert "more than 5 redirects" in await fails(api, UnusableResponse)
    assert len(api.requests) == 6


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def tls_api(authority: trustme.CA) -> AsyncIterator[HttpApi]:
    """An API that wants a client certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    async with http_api(context) as running:
        running.answer("/", {"ok": True})
        yield running


async def test_mutual_tls(tls_api: HttpApi, authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate = authority.issue_cert("trelay")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    tls = {name: str(tmp_path / f"{name.partition('_')[0]}.pem") for name in ("ca_file", "cert_file", "key_file")}
    url = tls_api.url("/", host="localhost")
    async with client(url, tls=tls) as opened:
        assert (await opened.get(URL(url))).status == 200
    async with client(url, tls={"ca_file": tls["ca_file"]}) as opened:
        with pytest.raises(Unavailable):
            await opened.get(URL(url))
    async with client(url) as opened:
        with pytest.raises(SettingsError, match="the server's certificate is not trusted"):
            await opened.get(URL(url))


async def test_a_redirect_does_not_leave_tls(authority: trustme.CA, api: HttpApi, tmp_path: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with http_api(context) as secure:
        secure.answer("/", (302, {"Location": api.url("/", host="localhost")}, None))
        url = secure.url("/", host="localhost")
        async with client(url, tls={"ca_file": str(tmp_path / "ca.pem")}) as opened:
            with pytest.raises(UnusableResponse, match="which is not encrypted"):
                await opened.get(URL(url))
    assert api.requests == []


async def test_a_certificate_that_cannot_be_used_is_an_error_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(SettingsError, match=r"system\.sources\.orders\.tls: ca_file .*ca\.pem cannot be used"):
        async with client("https://api.example/", tls={"ca_file": str(tmp_path / "ca.pem")}):
            pass
