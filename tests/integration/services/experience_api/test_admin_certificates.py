"""Operators prove who they are to the admin port by client certificates (mutual TLS)."""

import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from tests.integration.services.experience_api.mutual_tls import listener, trusting
from tests.integration.services.experience_api.producers import in_memory

TOKEN = "alice-0123456789abcdef0123"
OPERATORS = {
    "alice": {"token": TOKEN},
    "robot": {"certificates": ["robot.example.com"]},
}


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def url(authority: trustme.CA, tmp_path: Path) -> AsyncIterator[str]:
    """The address of an admin API that knows certificates of the authority."""
    tls = listener(authority, tmp_path)
    async with in_memory({"admin": {"listen": {"port": 0, "tls": tls}, "operators": OPERATORS}}) as service:
        assert service.admin is not None
        assert service.admin.url.startswith("https://")
        yield service.admin.url


async def call(
    url: str, context: ssl.SSLContext, method: str = "GET", path: str = "/clients", **more: Any
) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, url + path, ssl=context, **more) as response,
    ):
        return response.status, await response.json(content_type=None)


async def test_a_certificate_stands_for_its_operator(
    url: str, authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "shared.http.commands")
    context = trusting(authority, "robot.example.com")
    status, added = await call(url, context, "POST", "/clients", json={"client_id": "shop"})
    assert (status, added["client_id"]) == (201, "shop")
    assert (await call(url, context, path="/clients/shop"))[0] == 200
    (line,) = (record.__dict__ for record in caplog.records)
    assert (line["command"], line["operator"]) == ("client-add", "robot")


async def test_a_certificate_of_a_stranger_is_no_operator(url: str, authority: trustme.CA) -> None:
    for context in (trusting(authority), trusting(authority, "other.example.com")):
        status, problem = await call(url, context)
        assert (status, problem["code"]) == (401, "unauthorized")
        assert (await call(url, context, "POST", "/clients", json={"client_id": "shop"}))[0] == 401


async def test_a_certificate_of_another_authority_or_that_has_expired_ends_the_handshake(
    url: str, authority: trustme.CA
) -> None:
    for context in (
        trusting(authority, "robot.example.com", issuer=trustme.CA()),
        trusting(authority, "robot.example.com", expired=True),
    ):
        with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
            await call(url, context)


async def test_a_token_that_is_sent_must_be_right_whatever_the_certificate(url: str, authority: trustme.CA) -> None:
    context = trusting(authority, "robot.example.com")
    assert (await call(url, context, headers={"Authorization": "Bearer wrong"}))[0] == 401
    for names in ((), ("other.example.com",), ("robot.example.com",)):
        found = await call(url, trusting(authority, *names), headers={"Authorization": f"Bearer {TOKEN}"})
        assert found[0] == 200, names


async def test_plain_http_is_refused_on_the_port(url: str) -> None:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientError):
            await http.get(url.replace("https://", "http://"))
