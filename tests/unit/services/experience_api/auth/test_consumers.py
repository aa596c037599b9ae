import uuid
from collections.abc import AsyncIterator
from ipaddress import ip_address

import pytest
from multidict import CIMultiDict

from services.experience_api.auth.admission import Admission, AdmissionOptions
from services.experience_api.auth.clients import Verifier, VerifyOptions, add_client
from services.experience_api.auth.consumers import Registration
from services.experience_api.auth.tokens import Tokens
from services.experience_api.refusals import LOOPBACK_ONLY, TOKEN_REFUSED, TOO_MANY_ATTEMPTS, WRONG_CREDENTIALS, Refused
from services.experience_api.registry.memory import MemoryRegistry
from services.experience_api.registry.protocol import Claim, Node
from services.experience_api.registry.tokens import SigningKey, TokenClaims
from shared.http.origin import Origin
from shared.lease import MemoryLeaseStore
from shared.runtime.clock import SYSTEM_CLOCK

LOCAL = Origin(ip_address("127.0.0.1"), proxied=False)
REMOTE = Origin(ip_address("192.0.2.1"), proxied=False)
DEMO = CIMultiDict({"client_id": "demo", "client_secret": "demo"})
WRONG = CIMultiDict({"client_id": "demo", "client_secret": "wrong"})
TOKENS = Tokens([SigningKey("1", b"k" * 32)])


@pytest.fixture
async def registry() -> MemoryRegistry:
    leases = MemoryLeaseStore()
    await leases.acquire("node/one", "one", 600)
    return MemoryRegistry(leases)


@pytest.fixture
async def registration(registry: MemoryRegistry) -> AsyncIterator[Registration]:
    await add_client(registry, "demo", secret="demo", loopback_only=True)
    with Verifier.opened(registry, VerifyOptions()) as verifier:
        yield Registration(
            Admission(AdmissionOptions(failures=5, failures_per_second=0.001)), verifier, registry, TOKENS, SYSTEM_CLOCK
        )


async def may_connect(registry: MemoryRegistry, claims: TokenClaims) -> bool:
    node = Node("one", 1)
    try:
        verdict = await registry.claim(claims, uuid.uuid4(), node, remote="", loopback=True, good_for_days=1)
    except Refused as exc:
        return exc.refusal is not TOKEN_REFUSED
    assert isinstance(verdict, Claim)
    await registry.release(verdict.client_id, verdict.connection_id)
    return True


async def test_a_registered_client_has_a_token_that_connects(
    registry: MemoryRegistry, registration: Registration
) -> None:
    claims = TOKENS.read((await registration.register(DEMO, LOCAL)).token)
    assert claims.client_id == "demo"
    assert await may_connect(registry, claims)


async def test_each_registration_issues_a_new_token_and_invalidates_the_previous_one(
    registry: MemoryRegistry, registration: Registration
) -> None:
    old = TOKENS.read((await registration.register(DEMO, LOCAL)).token)
    new = TOKENS.read((await registration.register(DEMO, LOCAL)).token)
    assert not await may_connect(registry, old)
    assert await may_connect(registry, new)


async def test_an_unregistered_consumer_cannot_connect(registry: MemoryRegistry, registration: Registration) -> None:
    claims = TOKENS.read((await registration.register(DEMO, LOCAL)).token)
    await registration.unregister(DEMO, LOCAL)
    assert not await may_connect(registry, claims)
    await registration.unregister(DEMO, LOCAL)


async def test_a_loopback_only_client_is_refused_elsewhere_and_learns_why_only_with_its_secret(
    registry: MemoryRegistry, registration: Registration
) -> None:
    claims = TOKENS.read((await registration.register(DEMO, LOCAL)).token)
    for act in (registration.register, registration.unregister):
        with pytest.raises(Refused) as refused:
            await act(DEMO, REMOTE)
        assert refused.value.refusal is LOOPBACK_ONLY
        assert refused.value.detail == "The client is accepted from the loopback address only: found 192.0.2.1"
        with pytest.raises(Refused) as refused:
            await act(WRONG, REMOTE)
        assert refused.value.refusal is WRONG_CREDENTIALS
    assert await may_connect(registry, claims)


async def test_wrong_secrets_use_up_the_budget_of_an_address_and_right_ones_do_not(registration: Registration) -> None:
    for _ in range(10):
        await registration.register(DEMO, LOCAL)
    found = []
    for _ in range(6):
        with pytest.raises(Refused) as refused:
            await registration.register(WRONG, REMOTE)
        found.append(refused.value.refusal)
    assert found == [WRONG_CREDENTIALS] * 5 + [TOO_MANY_ATTEMPTS]
    await registration.register(DEMO, LOCAL)
