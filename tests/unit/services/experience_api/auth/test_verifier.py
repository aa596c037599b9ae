import asyncio
import secrets
import threading
from collections.abc import Iterator, Sequence

import pytest

from services.experience_api.auth.clients import add_client, rotate_secret
from services.experience_api.auth.credentials import ClientCredentials
from services.experience_api.auth.secrets import Comparison, is_generated
from services.experience_api.auth.verifier import Verifier, VerifyOptions
from services.experience_api.refusals import BUSY, TOO_MANY_ATTEMPTS, WRONG_CREDENTIALS, Refusal, Refused
from services.experience_api.registry.memory import MemoryRegistry
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

    def matches(self, presented: str, stored: Sequence[str]) -> bool:
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


async def refusal_of(verifier: Verifier, name: str, secret: str, address: str = "192.0.2.1") -> Refusal:
    with pytest.raises(Refused) as refused:
        await verifier.verify(ClientCredentials(name, secret), address)
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
    waiting = [
        asyncio.create_task(refusal_of(verifier, "unknown", f"wrong {number}", f"192.0.2.{number}"))
        for number in range(2)
    ]
    while verifier._waiting < 2:
        await asyncio.sleep(0)
    assert await refusal_of(verifier, "unknown", "one too many", "192.0.2.3") is BUSY
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


async def test_right_credentials_are_known_from_then_on(
    registry: MemoryRegistry, verifier: Verifier, clock: SettableClock
) -> None:
    await add_client(registry, "demo", secret="demo")
    demo = ClientCredentials("demo", "demo")
    assert not verifier.knows(demo)
    await verifier.verify(demo)
    await refusal_of(verifier, "demo", "wrong")
    assert verifier.knows(demo)
    assert not verifier.knows(ClientCredentials("demo", "wrong"))
    assert not verifier.knows(ClientCredentials("other", "demo"))
    clock.seconds += 86_401
    assert not verifier.knows(demo)


async def test_known_credentials_that_become_wrong_are_known_no_longer(
    registry: MemoryRegistry, verifier: Verifier
) -> None:
    secret = await add_client(registry, "shop")
    await verifier.verify(ClientCredentials("shop", secret))
    await registry.disable("shop")
    assert await refusal_of(verifier, "shop", secret) is WRONG_CREDENTIALS
    assert not verifier.knows(ClientCredentials("shop", secret))


async def test_known_credentials_do_not_wait_in_the_queue_of_guesses(
    registry: MemoryRegistry, verifier: Verifier, clock: SettableClock
) -> None:
    await add_client(registry, "demo", secret="demo")
    await verifier.verify(ClientCredentials("demo", "demo"))
    clock.seconds += 31  # the outcome is not cached any more, the credentials are still known
    comparison = verifier._comparison = CountingComparison()
    comparison.may_end.clear()
    waiting = [asyncio.create_task(refusal_of(verifier, "demo", f"wrong {n}", f"192.0.2.{n}")) for n in range(2)]
    while verifier._waiting < 2:
        await asyncio.sleep(0)
    known = asyncio.create_task(verifier.verify(ClientCredentials("demo", "demo"), "192.0.2.1"))
    await asyncio.sleep(0)
    comparison.may_end.set()
    assert (await known).client_id == "demo"
    assert await asyncio.gather(*waiting) == [WRONG_CREDENTIALS] * 2


async def test_guesses_of_one_address_for_one_client_are_limited_and_the_same_one_again_is_no_guess(
    registry: MemoryRegistry, clock: SettableClock
) -> None:
    await add_client(registry, "demo", secret="demo")
    await add_client(registry, "other", secret="other")
    with Verifier.opened(registry, VerifyOptions(guesses=2, guesses_per_second=1), clock=clock) as verifier:
        for _ in range(5):
            assert await refusal_of(verifier, "demo", "wrong") is WRONG_CREDENTIALS
        found = [await refusal_of(verifier, "demo", f"guess {number}") for number in range(2)]
        assert found == [WRONG_CREDENTIALS, TOO_MANY_ATTEMPTS]
        assert await refusal_of(verifier, "demo", "demo") is TOO_MANY_ATTEMPTS  # else it could be guessed
        await verifier.verify(ClientCredentials("other", "other"), "192.0.2.1")
        await verifier.verify(ClientCredentials("demo", "demo"), "192.0.2.2")
        await verifier.verify(ClientCredentials("demo", "demo"), "192.0.2.1")  # known by now
        clock.seconds += 1
        assert await refusal_of(verifier, "demo", "another guess") is WRONG_CREDENTIALS


async def test_a_wrong_generated_secret_is_no_guess(registry: MemoryRegistry, clock: SettableClock) -> None:
    """It cannot be guessed, so that nothing has to be limited but what it costs."""
    right = await add_client(registry, "shop")
    with Verifier.opened(registry, VerifyOptions(guesses=1), clock=clock) as verifier:
        for number in range(5):
            assert await refusal_of(verifier, "shop", f"trs_{number:043}") is WRONG_CREDENTIALS
        await verifier.verify(ClientCredentials("shop", right), "192.0.2.1")


async def test_one_address_has_one_comparison_in_the_queue(registry: MemoryRegistry, verifier: Verifier) -> None:
    await add_client(registry, "demo", secret="demo")
    comparison = verifier._comparison = CountingComparison()
    comparison.may_end.clear()
    waiting = [asyncio.create_task(refusal_of(verifier, "demo", f"wrong {number}")) for number in range(10)]
    while not verifier._waiting:
        await asyncio.sleep(0)
    elsewhere = asyncio.create_task(verifier.verify(ClientCredentials("demo", "demo"), "192.0.2.2"))
    while verifier._waiting < 2:
        await asyncio.sleep(0)
    comparison.may_end.set()
    assert (await elsewhere).client_id == "demo"
    assert await asyncio.gather(*waiting) == [WRONG_CREDENTIALS] * 10


async def test_two_secrets_are_right_during_an_overlap_and_one_after_it(clock: SettableClock) -> None:
    shared = MemoryRegistry(MemoryLeaseStore(clock), clock)
    with Verifier.opened(shared, VerifyOptions(), clock=clock) as verifier:
        await add_client(shared, "shop", secret="old")
        await verifier.verify(ClientCredentials("shop", "old"))
        assert await rotate_secret(shared, "shop", secret="new", overlap=60.0)
        for secret in ("old", "new"):
            await verifier.verify(ClientCredentials("shop", secret))
        assert await refusal_of(verifier, "shop", "other") is WRONG_CREDENTIALS
        clock.seconds = 61.0  # the outcomes of both are cached by now
        assert await refusal_of(verifier, "shop", "old") is WRONG_CREDENTIALS
        await verifier.verify(ClientCredentials("shop", "new"))
