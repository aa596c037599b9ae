from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from ipaddress import ip_address
from typing import Any
from uuid import UUID

import pytest
from multidict import CIMultiDict, MultiDict

from services.experience_api.auth.admission import Admission, AdmissionOptions
from services.experience_api.auth.tokens import Tokens
from services.experience_api.hub.audience import interest_in
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
from services.experience_api.registry.clients import Client, Ending
from services.experience_api.registry.memory import MemoryRegistry
from services.experience_api.registry.protocol import Claim, Held
from services.experience_api.registry.tokens import SigningKey
from services.experience_api.sessions.connections import Connections
from services.experience_api.sessions.handshake import Handshake
from services.experience_api.sessions.node import NodeLease
from services.experience_api.sessions.options import ConnectionsOptions
from services.experience_api.sessions.slots import ConnectionSlot
from shared.http.origin import Origin
from shared.lease import Leases, MemoryLeaseStore
from shared.runtime.clock import SYSTEM_CLOCK
from shared.runtime.tasks import Tasks

REMOTE = Origin(ip_address("192.0.2.1"), proxied=False)
ELSEWHERE = Origin(ip_address("192.0.2.2"), proxied=False)
TOKENS = Tokens([SigningKey("1", b"k" * 32)])
FOREIGN = Tokens([SigningKey("1", b"x" * 32)])


class CountingRegistry(MemoryRegistry):
    """Counts the queries of a handshake."""

    claims = 0
    releases = 0

    async def claim(self, *arguments: Any, **keywords: Any) -> Claim | Held:
        self.claims += 1
        return await super().claim(*arguments, **keywords)

    async def release(self, client_id: str, connection_id: UUID, ending: Ending | None = None) -> None:
        self.releases += 1
        await super().release(client_id, connection_id, ending)


class Deployment:
    """A handshake with everything that it needs."""

    def __init__(self) -> None:
        self.leases = MemoryLeaseStore()
        self.registry = CountingRegistry(self.leases)
        self.admission = Admission(AdmissionOptions(failures=5, failures_per_second=0.001))
        node = NodeLease(Leases(self.leases, "one"), "one", SYSTEM_CLOCK, lambda _: None)
        self.node = node
        self.tasks = Tasks()
        self.connections = Connections(self.registry, node, self.tasks, ConnectionsOptions(), good_for_days=30)
        self.handshake = Handshake(self.admission, TOKENS, self.registry, self.connections, SYSTEM_CLOCK)

    async def token(self, client_id: str = "demo") -> str:
        issued = TOKENS.issue(client_id, 0)
        await self.registry.register(issued.claims)
        return issued.token

    async def refusal(self, *lines: tuple[str, str], query: str = "", origin: Origin = REMOTE) -> Refusal:
        with pytest.raises(Refused) as refused:
            async with self.admit(*lines, query=query, origin=origin):
                pytest.fail("admitted")
        return refused.value.refusal

    def admit(
        self, *lines: tuple[str, str], query: str = "", origin: Origin = REMOTE
    ) -> AbstractAsyncContextManager[ConnectionSlot]:
        pairs = [pair.partition("=") for pair in query.split("&") if pair]
        return self.handshake.admit(CIMultiDict(lines), MultiDict((name, value) for name, _, value in pairs), origin)


def bearer(token: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {token}")


@pytest.fixture
async def deployment() -> AsyncIterator[Deployment]:
    deployment = Deployment()
    await deployment.registry.add(Client("demo", "x", ("orders.**", "prices")))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(deployment.tasks)
        lease = await stack.enter_async_context(Leases(deployment.leases, "one").hold("node/one"))
        deployment.node._lease = lease
        await stack.enter_async_context(deployment.connections.open())
        yield deployment


async def test_a_consumer_is_admitted_with_all_permitted_channels(deployment: Deployment) -> None:
    async with deployment.admit(bearer(await deployment.token())) as slot:
        assert slot.subscriber.client_id == "demo"
        assert slot.subscriber.connection_id == slot.connection_id
        assert slot.subscriber.interest == interest_in(["orders.**", "prices"])
        assert not slot.subscriber.may_send
        assert slot.cursor is None
        assert slot.protocols == ()
        assert deployment.admission.in_progress == 0
    assert deployment.registry.releases == 1


async def test_a_consumer_may_narrow_its_channels_and_resume(deployment: Deployment) -> None:
    query = "channels=orders.eu,prices&cursor=abc"
    async with deployment.admit(bearer(await deployment.token()), query=query) as slot:
        assert slot.subscriber.interest == interest_in(["orders.eu", "prices"])
        assert slot.cursor == "abc"


async def test_an_empty_cursor_is_none(deployment: Deployment) -> None:
    async with deployment.admit(bearer(await deployment.token()), query="channels=prices&cursor=") as slot:
        assert slot.cursor is None


async def test_an_offered_subprotocol_is_answered(deployment: Deployment) -> None:
    offered = ("Sec-WebSocket-Protocol", f"cloudevents.json, bearer.{await deployment.token()}")
    async with deployment.admit(offered) as slot:
        assert slot.protocols == ("cloudevents.json",)


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
async def test_a_refused_request_leaves_no_claim(deployment: Deployment, query: str, refusal: Refusal) -> None:
    token = await deployment.token()
    assert await deployment.refusal(bearer(token), query=query) is refusal
    async with deployment.admit(bearer(token)):
        pass


async def test_the_database_sees_no_token_that_was_not_signed_here(deployment: Deployment) -> None:
    genuine = await deployment.token()
    bogus = [
        FOREIGN.issue("demo", 0).token,
        genuine[:-1] + ("A" if genuine[-1] != "A" else "E"),
        "x",
        "a.b.c",
    ]
    for token in bogus:
        assert await deployment.refusal(bearer(token)) is TOKEN_REFUSED
    assert await deployment.refusal() is TOKEN_MISSING
    assert deployment.registry.claims == 0


async def test_failures_use_up_the_budget_of_their_address_alone(deployment: Deployment) -> None:
    found = [await deployment.refusal(bearer("bogus")) for _ in range(6)]
    assert found == [TOKEN_REFUSED] * 5 + [TOO_MANY_ATTEMPTS]
    async with deployment.admit(bearer(await deployment.token()), origin=ELSEWHERE):
        pass


async def test_an_address_that_fails_excludes_no_genuine_token(deployment: Deployment) -> None:
    token = await deployment.token()
    found = [await deployment.refusal(bearer("bogus")) for _ in range(50)]
    assert found == [TOKEN_REFUSED] * 5 + [TOO_MANY_ATTEMPTS] * 45
    for _ in range(20):
        async with deployment.admit(bearer(token)):
            pass
        assert await deployment.refusal(bearer("bogus")) is TOO_MANY_ATTEMPTS
    assert deployment.registry.claims == 20


async def test_a_replaced_token_that_is_tried_again_and_again_does_not_exclude_its_successor(
    deployment: Deployment,
) -> None:
    old = await deployment.token()
    new = await deployment.token()
    found = [await deployment.refusal(bearer(old)) for _ in range(20)]
    assert found == [TOKEN_REFUSED] * 5 + [TOO_MANY_ATTEMPTS] * 15
    async with deployment.admit(bearer(new)):
        pass


async def test_a_client_refused_at_one_address_is_admitted_at_another(deployment: Deployment) -> None:
    token = await deployment.token()
    found = [await deployment.refusal(bearer(token), query="channels=secret") for _ in range(6)]
    assert found == [CHANNEL_NOT_PERMITTED] * 5 + [TOO_MANY_ATTEMPTS]
    async with deployment.admit(bearer(token), origin=ELSEWHERE):
        pass


async def test_valid_consumers_behind_one_address_use_up_no_budget(deployment: Deployment) -> None:
    token = await deployment.token()
    for _ in range(20):
        async with deployment.admit(bearer(token)):
            pass


async def test_a_genuine_token_that_is_refused_is_charged_to_its_client(deployment: Deployment) -> None:
    await deployment.registry.add(Client("other", "x", ("**",)))
    old = await deployment.token()
    await deployment.token()
    found = [await deployment.refusal(bearer(old)) for _ in range(6)]
    assert found == [TOKEN_REFUSED] * 5 + [TOO_MANY_ATTEMPTS]
    assert deployment.registry.claims == 5
    async with deployment.admit(bearer(await deployment.token("other"))):
        pass


async def test_a_second_connection_is_refused_while_the_first_is_being_opened(deployment: Deployment) -> None:
    token = await deployment.token()
    async with deployment.admit(bearer(token)):
        assert await deployment.refusal(bearer(token)) is ALREADY_CONNECTED


async def test_the_token_of_a_loopback_only_client_is_refused_elsewhere(deployment: Deployment) -> None:
    await deployment.registry.add(Client("local", "x", ("**",), loopback_only=True))
    token = await deployment.token("local")
    assert await deployment.refusal(bearer(token)) is LOOPBACK_ONLY
    local = Origin(ip_address("::1"), proxied=False)
    async with deployment.admit(bearer(token), origin=local):
        pass


async def test_no_consumer_is_admitted_while_draining(deployment: Deployment) -> None:
    token = await deployment.token()
    deployment.admission.close()
    assert await deployment.refusal(bearer(token)) is DRAINING
    assert deployment.registry.claims == 0
