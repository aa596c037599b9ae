import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from ipaddress import ip_address
from secrets import token_bytes

import pytest
from multidict import CIMultiDict

from services.experience_api.auth.admission import Admission, AdmissionOptions
from services.experience_api.auth.clients import add_client
from services.experience_api.auth.consumers import Registration
from services.experience_api.auth.secrets import generate, hash_secret
from services.experience_api.auth.tokens import Tokens
from services.experience_api.auth.verifier import Verifier, VerifyOptions
from services.experience_api.refusals import (
    LOOPBACK_ONLY,
    TOKEN_REFUSED,
    TOO_MANY_ATTEMPTS,
    WRONG_CREDENTIALS,
    Refusal,
    Refused,
)
from services.experience_api.registry.clients import Client
from services.experience_api.registry.memory import MemoryRegistry
from services.experience_api.registry.protocol import Claim, Node
from services.experience_api.registry.tokens import SigningKey, TokenClaims
from shared.http.origin import Origin
from shared.lease import MemoryLeaseStore
from shared.runtime.clock import SYSTEM_CLOCK, SystemClock

LOCAL = Origin(ip_address("127.0.0.1"), proxied=False)
REMOTE = Origin(ip_address("192.0.2.1"), proxied=False)
DEMO = CIMultiDict({"client_id": "demo", "client_secret": "demo"})
WRONG = CIMultiDict({"client_id": "demo", "client_secret": "wrong"})
TOKENS = Tokens([SigningKey("1", b"k" * 32)])


class SteppedClock(SystemClock):
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.at = 100.0

    def monotonic(self) -> float:
        return self.at


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


class Replacing(MemoryRegistry):
    """Replaces the secret of `demo` while a registration compares it."""

    replacement: tuple[str, float] | None = None

    async def find(self, client_id: str) -> Client | None:
        found = await super().find(client_id)
        if self.replacement is not None:
            secret, overlap = self.replacement
            self.replacement = None
            assert await self.rotate("demo", hash_secret(secret, token_bytes), overlap)
        return found


async def test_a_secret_that_is_replaced_while_it_is_compared_registers_for_its_overlap_only() -> None:
    leases = MemoryLeaseStore()
    await leases.acquire("node/one", "one", 600)
    registry = Replacing(leases)
    await add_client(registry, "demo", secret="demo")
    with Verifier.opened(registry, VerifyOptions()) as verifier:
        registration = Registration(Admission(AdmissionOptions()), verifier, registry, TOKENS, SYSTEM_CLOCK)
        good = TOKENS.read((await registration.register(DEMO, LOCAL)).token)
        registry.replacement = ("another", 3600.0)
        good = TOKENS.read((await registration.register(DEMO, LOCAL)).token)
        assert await may_connect(registry, good)
        registry.replacement = ("a third", 0.0)
        with pytest.raises(Refused) as refused:
            await registration.register(DEMO, LOCAL)
        assert refused.value.refusal is WRONG_CREDENTIALS
        assert await may_connect(registry, good)


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


async def refusals_of(registration: Registration, headers: CIMultiDict[str], count: int) -> list[Refusal]:
    found = []
    for _ in range(count):
        with pytest.raises(Refused) as refused:
            await registration.register(headers, REMOTE)
        found.append(refused.value.refusal)
    return found


async def test_an_address_that_fails_excludes_no_right_secret(
    registry: MemoryRegistry, registration: Registration
) -> None:
    """A neighbour with the same address may be another program, or the same client with an old secret."""
    generated = await add_client(registry, "shop")
    await add_client(registry, "chosen", secret="chosen")
    assert TOO_MANY_ATTEMPTS in await refusals_of(registration, WRONG, 20)
    for name, secret in (("shop", generated), ("chosen", "chosen")):
        right = CIMultiDict({"client_id": name, "client_secret": secret})
        stale = CIMultiDict({"client_id": name, "client_secret": "an old one"})
        for _ in range(3):
            assert await refusals_of(registration, stale, 20) == [TOO_MANY_ATTEMPTS] * 20
            assert (await registration.register(right, REMOTE)).client_id == name
            await registration.unregister(right, REMOTE)


async def test_a_client_refused_at_one_address_is_accepted_at_another(registration: Registration) -> None:
    assert await refusals_of(registration, DEMO, 6) == [LOOPBACK_ONLY] * 5 + [TOO_MANY_ATTEMPTS]
    await registration.register(DEMO, LOCAL)


class BlockingRegistry(MemoryRegistry):
    """Blocks look-ups while `proceed` is not set, and counts those that run at once."""

    def __init__(self) -> None:
        super().__init__(MemoryLeaseStore())
        self.proceed = asyncio.Event()
        self.running = self.most = 0

    async def find(self, client_id: str) -> Client | None:
        self.running += 1
        self.most = max(self.most, self.running)
        await self.proceed.wait()
        self.running -= 1
        return await super().find(client_id)


async def test_an_address_that_fails_has_one_look_up_at_a_time() -> None:
    registry = BlockingRegistry()
    with Verifier.opened(registry, VerifyOptions()) as verifier:
        admission = Admission(AdmissionOptions(failures=5, failures_per_second=0.001))
        registration = Registration(admission, verifier, registry, TOKENS, SYSTEM_CLOCK)
        wrong = CIMultiDict({"client_id": "demo", "client_secret": "trs_" + "x" * 43})
        registry.proceed.set()
        await refusals_of(registration, wrong, 5)
        registry.proceed.clear()
        registry.most = 0
        waiting = [asyncio.create_task(refusals_of(registration, wrong, 1)) for _ in range(10)]
        while not registry.running:
            await asyncio.sleep(0)
        registry.proceed.set()
        assert await asyncio.gather(*waiting) == [[TOO_MANY_ATTEMPTS]] * 10
        assert registry.most == 1


async def test_refused_registrations_are_logged_and_in_a_flood_once_a_second(
    registry: MemoryRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SteppedClock()
    await add_client(registry, "demo", secret=generate(random.Random(1).randbytes))
    unlimited = Admission(AdmissionOptions(failures=1000))
    with Verifier.opened(registry, VerifyOptions()) as verifier:
        registration = Registration(unlimited, verifier, registry, TOKENS, clock)
        secret = generate(random.Random(2).randbytes)
        for number, client_id in enumerate(["demo"] * 51 + ["shop"]):
            clock.at += number // 51
            headers = CIMultiDict({"client_id": client_id, "client_secret": secret})
            with pytest.raises(Refused):
                await registration.register(headers, REMOTE)
    lines = [vars(record) for record in caplog.records if record.getMessage() == "registration refused"]
    assert [(line["client_id"], line["count"]) for line in lines] == [("demo", 1), ("shop", 51)]
    assert {(line["address"], line["reason"]) for line in lines} == {("192.0.2.1", "wrong-credentials")}
    assert secret not in caplog.text


async def test_a_registration_from_another_machine_and_one_without_a_form_are_logged(
    registration: Registration, caplog: pytest.LogCaptureFixture
) -> None:
    headers = CIMultiDict({"client_id": "demo\n", "client_secret": "x"})
    with pytest.raises(Refused):
        await registration.register(headers, REMOTE)
    (line,) = [vars(record) for record in caplog.records]
    assert (line["client_id"], line["reason"]) == ("", "wrong-credentials")
    with pytest.raises(Refused):
        await registration.register(CIMultiDict(), REMOTE)
    assert len(caplog.records) == 1, "no credentials are no attempt"


async def test_a_registration_of_a_loopback_client_from_elsewhere_is_logged(
    registration: Registration, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Refused):
        await registration.register(DEMO, REMOTE)
    (line,) = [vars(record) for record in caplog.records]
    assert (line["client_id"], line["reason"], line["address"]) == ("demo", "loopback-only", "192.0.2.1")
