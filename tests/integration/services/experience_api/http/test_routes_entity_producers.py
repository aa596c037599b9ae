"""`POST /entity` of producers with tokens and client certificates, on real sockets."""

import json
import random
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from services.system_api.delivery.options import DeliverOptions
from services.system_api.delivery.sender import Sender
from shared.bus.protocol import Outgoing
from shared.errors import Unavailable
from shared.runtime.clock import SYSTEM_CLOCK
from tests.integration.services.experience_api.mutual_tls import listener, trusting
from tests.integration.services.experience_api.producers import in_memory

TOKEN = "0123456789abcdef01234567"
JSON = {"Content-Type": "application/json"}
REFUSED = (aiohttp.ClientError, ssl.SSLError, ConnectionError)
"""What a client sees of a handshake that the service refuses: in TLS 1.3, the client believes that it is complete."""
PRODUCERS = {
    "shop": {"tokens": [TOKEN], "certificates": ["shop.example.com"], "channels": ["orders.**"]},
}
EVENT = b'{"specversion":"1.0","id":"%d","source":"/shop","type":"t","channel":"%b","data":1}'


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def url(authority: trustme.CA, tmp_path: Path) -> AsyncIterator[str]:
    """The address of a service that knows producers, and permits no address."""
    tls = listener(authority, tmp_path)
    registrations = {"failures": 3, "failures_per_second": 0.001}
    experience = {"listen": {"tls": tls}, "entity": {"producers": PRODUCERS}, "registrations": registrations}
    async with in_memory(experience) as service:
        yield service.listening.url


async def push(
    url: str, context: ssl.SSLContext, *, channel: str = "orders.eu", headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{url}/entity?channel={channel}", json=1, headers=headers, ssl=context) as response,
    ):
        return response.status, await response.json(content_type=None)


async def test_a_token_permits_its_channels_alone(url: str, authority: trustme.CA) -> None:
    context, bearer = trusting(authority), {"Authorization": f"Bearer {TOKEN}"}
    status, found = await push(url, context, headers=bearer)
    assert (status, found["accepted"]) == (202, 1)
    status, found = await push(url, context, headers=bearer, channel="prices")
    assert (status, found["code"]) == (403, "publishing-not-permitted")
    assert "'prices'" in found["detail"]


async def test_one_channel_that_is_not_permitted_refuses_the_whole_batch(url: str, authority: trustme.CA) -> None:
    body = b"[" + EVENT % (1, b"orders.eu") + b"," + EVENT % (2, b"prices") + b"]"
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/cloudevents-batch+json"}
    async with aiohttp.ClientSession(headers=headers) as http:
        async with http.post(f"{url}/entity", data=body, ssl=trusting(authority)) as response:
            assert (response.status, (await response.json(content_type=None))["code"]) == (
                403,
                "publishing-not-permitted",
            )
        async with http.get(f"{url}/entity", ssl=trusting(authority)) as response:
            assert response.status == 405


async def test_wrong_tokens_are_problems_and_limited(url: str, authority: trustme.CA) -> None:
    context = trusting(authority)
    found = [await push(url, context, headers={"Authorization": f"Bearer {n}"}) for n in range(4)]
    assert [(status, body["code"]) for status, body in found] == [
        *[(401, "producer-refused")] * 3,
        (429, "too-many-attempts"),
    ]
    assert (await push(url, context, headers={"Authorization": f"Bearer {TOKEN}"}))[0] == 202


async def test_a_certificate_permits_its_channels_alone(url: str, authority: trustme.CA) -> None:
    context = trusting(authority, "shop.example.com")
    assert (await push(url, context))[0] == 202
    assert (await push(url, context, channel="prices"))[1]["code"] == "publishing-not-permitted"
    assert (await push(url, trusting(authority, "other.example.com")))[1]["code"] == "producer-refused"


async def test_a_certificate_of_another_authority_is_refused_in_the_handshake(url: str, authority: trustme.CA) -> None:
    with pytest.raises(REFUSED):
        await push(url, trusting(authority, "shop.example.com", issuer=trustme.CA()))


async def test_a_certificate_that_has_expired_is_refused_in_the_handshake(url: str, authority: trustme.CA) -> None:
    with pytest.raises(REFUSED):
        await push(url, trusting(authority, "shop.example.com", expired=True))
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    with pytest.raises(REFUSED):
        await push(url, trusting(authority, "shop.example.com", expired=True), headers=bearer)
    assert (await push(url, trusting(authority), headers=bearer))[0] == 202, "a token needs no certificate"


@pytest.mark.parametrize("credentials", ["token", "certificate", "none"])
async def test_direct_delivery_is_a_producer(url: str, authority: trustme.CA, tmp_path: Path, credentials: str) -> None:
    authority.issue_cert("shop.example.com").private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    every: dict[str, dict[str, Any]] = {
        "token": {"token": TOKEN},
        "certificate": {"cert_file": tmp_path / "own.pem"},
        "none": {},
    }
    delivery = {"url": f"{url}/entity", "ca_file": tmp_path / "ca.pem", "retry": {"attempts": 1, "first_wait": 0.01}}
    options = DeliverOptions.model_validate(delivery | every[credentials])
    async with Sender.opened(options, SYSTEM_CLOCK, random.Random(1)) as sender:
        sending = sender.send([Outgoing(b"1", EVENT % (1, b"orders.eu"))])
        if credentials == "none":
            with pytest.raises(Unavailable, match="answered 401: found no token of a producer"):
                await sending
        else:
            await sending


async def test_tokens_do_not_change_what_the_allow_list_permits() -> None:
    entity = {"allow": ["127.0.0.0/8"], "producers": {"shop": {"tokens": [TOKEN], "channels": ["orders.**"]}}}
    async with in_memory({"entity": entity}) as service, aiohttp.ClientSession() as http:
        url = f"{service.listening.url}/entity?channel=prices"
        async with http.post(url, data=json.dumps(1), headers=JSON) as response:
            assert response.status == 202
        async with http.post(url, data=b"1", headers={**JSON, "Authorization": "Bearer wrong"}) as response:
            assert response.status == 401
