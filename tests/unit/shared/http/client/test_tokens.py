"""Tokens are kept, renewed before they expire, and requested once for all."""

import asyncio

import pytest

from shared.errors import Unauthorized, Unavailable
from shared.http.client.tokens import Token, TokenCache, parse_token
from shared.runtime.clock import SystemClock


class ManualClock(SystemClock):
    at = 100.0

    def monotonic(self) -> float:
        return self.at


class Issuer:
    """Issues `t1`, `t2` and so on; waits for `open` first."""

    def __init__(self, lifetime: float | None = 600) -> None:
        self.lifetime = lifetime
        self.issued = 0
        self.error: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self) -> Token:
        self.issued += 1
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return Token(f"t{self.issued}", self.lifetime)


async def test_a_token_is_kept_until_shortly_before_it_expires() -> None:
    clock, issuer = ManualClock(), Issuer()
    tokens = TokenCache(issuer, clock)
    assert await tokens.get() == "t1"
    clock.at += 569
    assert await tokens.get() == "t1"
    clock.at += 2
    assert await tokens.get() == "t2"


async def test_a_short_token_is_used_for_nine_tenths_of_its_life() -> None:
    clock, issuer = ManualClock(), Issuer(lifetime=10)
    tokens = TokenCache(issuer, clock)
    await tokens.get()
    clock.at += 8.9
    assert await tokens.get() == "t1"
    clock.at += 0.2
    assert await tokens.get() == "t2"


async def test_a_token_without_a_lifetime_is_used_until_it_is_refused() -> None:
    clock, issuer = ManualClock(), Issuer(lifetime=None)
    tokens = TokenCache(issuer, clock)
    await tokens.get()
    clock.at += 1e9
    assert await tokens.get() == "t1"
    tokens.discard("t0")
    assert await tokens.get() == "t1"
    tokens.discard("t1")
    assert await tokens.get() == "t2"


async def test_all_who_wait_share_one_request() -> None:
    issuer = Issuer()
    issuer.open.clear()
    tokens = TokenCache(issuer, ManualClock())
    waiting = [asyncio.create_task(tokens.get()) for _ in range(20)]
    await asyncio.sleep(0)
    issuer.open.set()
    assert set(await asyncio.gather(*waiting)) == {"t1"}
    assert issuer.issued == 1


async def test_all_who_wait_share_a_failure_and_the_next_call_tries_again() -> None:
    issuer = Issuer()
    issuer.open.clear()
    issuer.error = Unauthorized("no such client")
    tokens = TokenCache(issuer, ManualClock())
    waiting = [asyncio.create_task(tokens.get()) for _ in range(20)]
    await asyncio.sleep(0)
    issuer.open.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(each, Unauthorized) for each in outcomes)
    assert issuer.issued == 1
    issuer.error = None
    assert await tokens.get() == "t2"


async def test_a_caller_that_is_cancelled_leaves_the_others_to_it() -> None:
    issuer = Issuer()
    issuer.open.clear()
    tokens = TokenCache(issuer, ManualClock())
    first, second = (asyncio.create_task(tokens.get()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    issuer.open.set()
    assert await second == "t2"


@pytest.mark.parametrize(
    ("body", "token"),
    [
        (b'{"access_token":"a","token_type":"Bearer","expires_in":3600}', Token("a", 3600)),
        (b'{"access_token":"a","expires_in":"60"}', Token("a", 60)),
        (b'{"access_token":"a","token_type":"bearer"}', Token("a", None)),
    ],
)
def test_responses_with_a_token(body: bytes, token: Token) -> None:
    assert parse_token(body) == token


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b'{"access_token":""}',
        b'{"access_token":5}',
        b'{"access_token":"secret-\xff"}',
        b'{"access_token":"secret","expires_in":"soon"}',
        b'{"access_token":"secret","token_type":"mac"}',
    ],
)
def test_other_responses_are_errors_that_show_no_token(body: bytes) -> None:
    with pytest.raises(Unavailable, match=r"no access token|no bearer token") as caught:
        parse_token(body)
    assert "secret" not in str(caught.value)
