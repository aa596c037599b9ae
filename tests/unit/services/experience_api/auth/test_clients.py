import asyncio
import secrets
import threading
from collections.abc import Iterator

import pytest

from services.experience_api.auth.clients import ClientExists, Verifier, VerifyOptions, add_client
from services.experience_api.auth.credentials import ClientCredentials
from services.experience_api.auth.secrets import Comparison, is_generated
from services.experience_api.refusals import BUSY, WRONG_CREDENTIALS, Refusal, Refused
from services.experience_api.registry.memory import MemoryRegistry
from shared.errors import Malformed
from shared.lease import MemoryLeaseStore
from shared.runtime.clock import SystemClock


class SettableClock(SystemClock):
    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


class CountingComparison(Comparison):
    """Counts comparisons, and blocks them while `may_end` is not set."""

    def __init__(self) -> None:
        super().__init__(secrets.token_bytes)
        self.count = 0
        self.may_end = threading.Event()
        self.may_end.set()

    def matches(self, presented: str, stored: str | None) -> bool:
        self.count += 1
        self.may_end.wait(10)
        return super().matches(presented, stored)


@pytest.fixture
def registry() -> MemoryRegistry:
    return MemoryRegistry(MemoryLeaseStore())


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def verifier(registry: MemoryRegistry, clock: SettableClock) -> Iterator[Verifier]:
    options = VerifyOptions(threads=1, queue=1, cache_ttl=30, cache_size=2)
    with Verifier.opened(registry, options, clock=clock) as verifier:
        yield verifier


async def refusal_of(verifier: Verifier, name: str, secret: str) -> Refusal:
    with pytest.raises(Refused) as refused:
        await verifier.verify(ClientCredentials(name, secret))
    return refused.value.refusal


async def test_a_client_is_verified_by_its_generated_secret(registry: MemoryRegistry, verifier: Verifier) -> None:
    secret = await add_client(registry, "shop", channels=["orders.*"], may_send=True, note="the shop")
    assert is_generated(secret)
    client = await verifier.verify(ClientCredentials("shop", secret))
    assert client.channels == ("orders.*",)
    assert client.may_send
    assert client.note == "the shop"
    assert not client.loopback_only


async def test_a_client_may_have_a_chosen_secret(registry: MemoryRegistry, verifier: Verifier) -> None:
    assert await add_client(registry, "demo", secret="demo", loopback_only=True) == "demo"
    client = await verifier.verify(ClientCredentials("demo", "demo"))
    assert client.loopback_only
    assert client.channels == ("**",)


async def test_only_the_hash_of_a_secret_is_stored(registry: MemoryRegistry) -> None:
    secret = await add_client(registry, "shop")
    client = await registry.find("shop")
    assert client is not None
    assert secret not in client.secret_hash
    assert client.secret_hash not in repr(client)


async def test_an_existing_id_is_an_error_and_changes_nothing(registry: MemoryRegistry, verifier: Verifier) -> None:
    secret = await add_client(registry, "shop")
    with pytest.raises(ClientExists, match="'shop'"):
        await add_client(registry, "shop")
    await verifier.verify(ClientCredentials("shop", secret))


@pytest.mark.parametrize(
    ("name", "secret", "channels"), [("a b", "x", ["a"]), ("a", "", ["a"]), ("a", "x", ["a..b"]), ("a", "x", ["**.a"])]
)
async def test_an_invalid_client_is_refused(
    registry: MemoryRegistry, name: str, secret: str, channels: list[str]
) -> None:
    with pytest.raises(Malformed):
        await add_client(registry, name, secret=secret, channels=channels)
    assert await registry.all() == []


async def test_every_wrong_credential_is_refused_alike(registry: MemoryRegistry, verifier: Verifier) -> None:
    generated = await add_client(registry, "shop")
    await add_client(registry, "demo", secret="demo")
    await add_client(registry, "disabled", secret="disabled")
    await registry.disable("disabled")
    for name, secret in (
        ("demo", "wrong"),
        ("demo", generated),
        ("shop", "demo"),
        ("unknown", "demo"),
        ("unknown", generated),
        ("disabled", "disabled"),
    ):
        assert await refusal_of(verifier, name, secret) is WRONG_CREDENTIALS


async def test_the_outcome_of_a_slow_comparison_is_cached_for_a_moment(
    registry: MemoryRegistry, verifier: Verifier, clock: SettableClock
) -> None:
    await add_client(registry, "demo", secret="demo")
    comparison = verifier._comparison = CountingComparison()
    for _ in range(3):
        await verifier.verify(ClientCredentials("demo", "demo"))
        assert await refusal_of(verifier, "demo", "wrong") is WRONG_CREDENTIALS
    assert comparison.count == 2
    clock.seconds += 31
    await verifier.verify(ClientCredentials("demo", "demo"))
    assert comparison.count == 3


async def test_a_cached_outcome_does_not_outlive_the_secret(registry: MemoryRegistry, verifier: Verifier) -> None:
    await add_client(registry, "demo", secret="demo")
    await verifier.verify(ClientCredentials("demo", "demo"))
    del registry._clients["demo"]
    assert await refusal_of(verifier, "demo", "demo") is WRONG_CREDENTIALS
    await add_client(registry, "demo", secret="other")
    assert await refusal_of(verifier, "demo", "demo") is WRONG_CREDENTIALS


async def test_the_cache_is_limited(registry: MemoryRegistry, verifier: Verifier) -> None:
    for number in range(5):
        await refusal_of(verifier, "unknown", f"wrong {number}")
    assert len(verifier._cache) == 2


async def test_comparisons_beyond_the_queue_are_refused_as_busy(registry: MemoryRegistry, verifier: Verifier) -> None:
    generated = await add_client(registry, "shop")
    comparison = verifier._comparison = CountingComparison()
    comparison.may_end.clear()
    waiting = [asyncio.create_task(refusal_of(verifier, "unknown", f"wrong {number}")) for number in range(2)]
    while verifier._waiting < 2:
        await asyncio.sleep(0)
    assert await refusal_of(verifier, "unknown", "one too many") is BUSY
    comparison.may_end.set()
    assert await asyncio.gather(*waiting) == [WRONG_CREDENTIALS] * 2
    await verifier.verify(ClientCredentials("shop", generated))


async def test_a_generated_secret_does_not_wait_for_chosen_ones(registry: MemoryRegistry, verifier: Verifier) -> None:
    generated = await add_client(registry, "shop")
    blocked = CountingComparison()
    blocked.may_end.clear()
    fast, verifier._comparison = verifier._comparison, blocked
    waiting = asyncio.create_task(refusal_of(verifier, "unknown", "wrong"))
    while not blocked.count:
        await asyncio.sleep(0.001)
    verifier._comparison = fast
    await verifier.verify(ClientCredentials("shop", generated))
    blocked.may_end.set()
    assert await waiting is WRONG_CREDENTIALS
