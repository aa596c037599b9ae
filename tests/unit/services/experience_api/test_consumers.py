import uuid
from collections.abc import AsyncIterator
from ipaddress import ip_address

import pytest
from multidict import CIMultiDict

from services.experience_api.admission import Admission, AdmissionOptions
from services.experience_api.allow_list import Origin
from services.experience_api.clients import Verifier, VerifyOptions, add_client
from services.experience_api.consumers import Registration
from services.experience_api.refusals import LOOPBACK_ONLY, TOKEN_REFUSED, TOO_MANY_ATTEMPTS, WRONG_CREDENTIALS, Refused
from services.experience_api.registry.memory import MemoryRegistry
from services.experience_api.registry.protocol import Claim, Node, Wish
from services.experience_api.tokens import SigningKey, TokenClaims, Tokens
from shared.clock import SYSTEM_CLOCK
from shared.lease import MemoryLeaseStore

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
    wish = Wish(claims, uuid.uuid4(), Node("one", 1), "", loopback=True, good_for_days=1)
    try:
        verdict = await registry.claim(wish)
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


async def test_each_registration_gives_another_token_and_ends_the_one_before(
    registry: MemoryRegistry, registration: Registration
) -> None:
    old = TOKENS.read((await registration.register(DEMO, LOCAL)).token)
    new = TOKENS.read((await registration.register(DEMO, LOCAL)).token)
    assert not await may_connect(registry, old)
    assert await may_connect(registry, new)


async def test_a_forgotten_consumer_cannot_connect(registry: MemoryRegistry, registration: Registration) -> None:
    claims = TOKENS.read((await registration.register(DEMO, LOCAL)).token)
    await registration.forget(DEMO, LOCAL)
    assert not await may_connect(registry, claims)
    await registration.forget(DEMO, LOCAL)


async def test_a_client_of_the_loopback_is_told_so_elsewhere_but_only_with_its_secret(
    registry: MemoryRegistry, registration: Registration
) -> None:
    claims = TOKENS.read((await registration.register(DEMO, LOCAL)).token)
    for act in (registration.register, registration.forget):
        with pytest.raises(Refused) as refused:
            await act(DEMO, REMOTE)
        assert refused.value.refusal is LOOPBACK_ONLY
        assert refused.value.detail == "The client is accepted on the loopback only: found 192.0.2.1"
        with pytest.raises(Refused) as refused:
            await act(WRONG, REMOTE)
        assert refused.value.refusal is WRONG_CREDENTIALS
    assert await may_connect(registry, claims)


async def test_guessing_uses_up_the_budget_of_its_address_and_succeeding_does_not(registration: Registration) -> None:
    for _ in range(10):
        await registration.register(DEMO, LOCAL)
    found = []
    for _ in range(6):
        with pytest.raises(Refused) as refused:
            await registration.register(WRONG, REMOTE)
        found.append(refused.value.refusal)
    assert found == [WRONG_CREDENTIALS] * 5 + [TOO_MANY_ATTEMPTS]
    await registration.register(DEMO, LOCAL)
