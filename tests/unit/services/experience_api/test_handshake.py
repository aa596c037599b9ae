from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from ipaddress import ip_address
from uuid import UUID

import pytest
from multidict import CIMultiDict, MultiDict

from services.experience_api.admission import Admission, AdmissionOptions
from services.experience_api.allow_list import Origin
from services.experience_api.connections import Connections, ConnectionsOptions
from services.experience_api.handshake import Handshake, Knock
from services.experience_api.hub.audience import interest_in
from services.experience_api.node import NodeLease
from services.experience_api.refusals import (
    ALREADY_CONNECTED,
    CHANNEL_NOT_PERMITTED,
    DRAINING,
    LOOPBACK_ONLY,
    MALFORMED,
    TOKEN_MISSING,
    TOKEN_REFUSED,
    TOO_MANY_ATTEMPTS,
    Refusal,
    Refused,
)
from services.experience_api.registry.memory import MemoryRegistry
from services.experience_api.registry.protocol import Claim, Client, Held, Wish
from services.experience_api.tokens import SigningKey, Tokens
from shared.clock import SYSTEM_CLOCK
from shared.lease import Leases, MemoryLeaseStore
from shared.tasks import Tasks

REMOTE = Origin(ip_address("192.0.2.1"), proxied=False)
ELSEWHERE = Origin(ip_address("192.0.2.2"), proxied=False)
TOKENS = Tokens([SigningKey("1", b"k" * 32)])
FOREIGN = Tokens([SigningKey("1", b"x" * 32)])


class CountingRegistry(MemoryRegistry):
    """Counts what a handshake asks of the database."""

    claims = 0
    releases = 0

    async def claim(self, wish: Wish, instead_of: UUID | None = None) -> Claim | Held:
        self.claims += 1
        return await super().claim(wish, instead_of)

    async def release(self, client_id: str, connection_id: UUID) -> None:
        self.releases += 1
        await super().release(client_id, connection_id)


class House:
    """Everything behind the door."""

    def __init__(self) -> None:
        self.leases = MemoryLeaseStore()
        self.registry = CountingRegistry(self.leases)
        self.admission = Admission(AdmissionOptions(failures=5, failures_per_second=0.001))
        node = NodeLease(Leases(self.leases, "one"), "one", SYSTEM_CLOCK, lambda _: None)
        self.node = node
        self.tasks = Tasks()
        self.connections = Connections(self.registry, node, self.tasks, ConnectionsOptions(), good_for_days=30)
        self.handshake = Handshake(self.admission, TOKENS, self.connections, SYSTEM_CLOCK)

    async def token(self, client_id: str = "demo") -> str:
        issued = TOKENS.issue(client_id, 0)
        await self.registry.register(issued.claims)
        return issued.token

    async def refusal(self, *lines: tuple[str, str], query: str = "", origin: Origin = REMOTE) -> Refusal:
        with pytest.raises(Refused) as refused:
            async with self.handshake.let_in(knock(*lines, query=query, origin=origin)):
                pytest.fail("let in")
        return refused.value.refusal


def knock(*lines: tuple[str, str], query: str = "", origin: Origin = REMOTE) -> Knock:
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    return Knock(CIMultiDict(lines), MultiDict((name, value) for name, _, value in pairs), origin)


def bearer(token: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {token}")


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    await house.registry.add(Client("demo", "x", ("orders.**", "prices")))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(house.tasks)
        lease = await stack.enter_async_context(Leases(house.leases, "one").hold("node/one"))
        house.node._lease = lease
        await stack.enter_async_context(house.connections.open())
        yield house


async def test_a_consumer_is_let_in_with_all_it_may_have(house: House) -> None:
    async with house.handshake.let_in(knock(bearer(await house.token()))) as guest:
        assert guest.subscriber.client_id == "demo"
        assert guest.subscriber.connection_id == guest.seat.connection_id
        assert guest.subscriber.interest == interest_in(["orders.**", "prices"])
        assert not guest.subscriber.may_send
        assert guest.cursor is None
        assert guest.protocols == ()
        assert house.admission.under_way == 0
    assert house.registry.releases == 1


async def test_it_may_narrow_its_channels_and_resume(house: House) -> None:
    asked = knock(bearer(await house.token()), query="channels=orders.eu,prices&cursor=abc")
    async with house.handshake.let_in(asked) as guest:
        assert guest.subscriber.interest == interest_in(["orders.eu", "prices"])
        assert guest.cursor == "abc"


async def test_an_empty_cursor_is_none(house: House) -> None:
    async with house.handshake.let_in(knock(bearer(await house.token()), query="channels=prices&cursor=")) as guest:
        assert guest.cursor is None


async def test_the_subprotocol_is_answered_where_it_is_offered(house: House) -> None:
    offered = ("Sec-WebSocket-Protocol", f"cloudevents.json, bearer.{await house.token()}")
    async with house.handshake.let_in(knock(offered)) as guest:
        assert guest.protocols == ("cloudevents.json",)


@pytest.mark.parametrize(
    ("query", "refusal"),
    [
        ("channels=secret", CHANNEL_NOT_PERMITTED),
        ("channels=orders.eu,secret", CHANNEL_NOT_PERMITTED),
        ("channels=**", CHANNEL_NOT_PERMITTED),
        ("channels=a b", MALFORMED),
        ("channels=", MALFORMED),
        ("channels=,", MALFORMED),
        ("channels=&cursor=abc", MALFORMED),
        ("chanels=orders.eu", MALFORMED),
        ("channels=orders.eu&channels=prices", MALFORMED),
        ("cursor=a&cursor=b", MALFORMED),
    ],
)
async def test_what_it_may_not_ask_for_is_refused_and_leaves_no_claim(
    house: House, query: str, refusal: Refusal
) -> None:
    token = await house.token()
    assert await house.refusal(bearer(token), query=query) is refusal
    async with house.handshake.let_in(knock(bearer(token))):
        pass


async def test_the_database_sees_no_token_that_was_not_signed_here(house: House) -> None:
    genuine = await house.token()
    bogus = [
        FOREIGN.issue("demo", 0).token,
        genuine[:-1] + ("A" if genuine[-1] != "A" else "E"),
        "x",
        "a.b.c",
    ]
    for token in bogus:
        assert await house.refusal(bearer(token)) is TOKEN_REFUSED
    assert await house.refusal() is TOKEN_MISSING
    assert house.registry.claims == 0


async def test_failures_use_up_the_budget_of_their_address_alone(house: House) -> None:
    found = [await house.refusal(bearer("bogus")) for _ in range(6)]
    assert found == [TOKEN_REFUSED] * 5 + [TOO_MANY_ATTEMPTS]
    async with house.handshake.let_in(knock(bearer(await house.token()), origin=ELSEWHERE)):
        pass


async def test_honest_consumers_behind_one_address_use_up_nothing(house: House) -> None:
    token = await house.token()
    for _ in range(20):
        async with house.handshake.let_in(knock(bearer(token))):
            pass


async def test_a_genuine_token_that_is_refused_is_charged_to_its_client(house: House) -> None:
    await house.registry.add(Client("other", "x", ("**",)))
    old = await house.token()
    await house.token()
    found = [await house.refusal(bearer(old)) for _ in range(6)]
    assert found == [TOKEN_REFUSED] * 5 + [TOO_MANY_ATTEMPTS]
    assert house.registry.claims == 5
    async with house.handshake.let_in(knock(bearer(await house.token("other")))):
        pass


async def test_the_second_of_a_client_is_refused_while_the_first_is_on_its_way(house: House) -> None:
    token = await house.token()
    async with house.handshake.let_in(knock(bearer(token))):
        assert await house.refusal(bearer(token)) is ALREADY_CONNECTED


async def test_the_token_of_a_client_for_the_loopback_is_worth_nothing_elsewhere(house: House) -> None:
    await house.registry.add(Client("local", "x", ("**",), loopback_only=True))
    token = await house.token("local")
    assert await house.refusal(bearer(token)) is LOOPBACK_ONLY
    local = Origin(ip_address("::1"), proxied=False)
    async with house.handshake.let_in(knock(bearer(token), origin=local)):
        pass


async def test_while_draining_nobody_is_let_in(house: House) -> None:
    token = await house.token()
    house.admission.close()
    assert await house.refusal(bearer(token)) is DRAINING
    assert house.registry.claims == 0
