import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from uuid import UUID

import pytest

from services.experience_api.allow_list import Origin
from services.experience_api.connections import Connections, ConnectionsOptions
from services.experience_api.hub import close_codes
from services.experience_api.hub.close_codes import (
    CLAIM_LOST,
    DISABLED,
    REMOVED,
    REPLACED,
    TAKEN_OVER,
    CloseReason,
)
from services.experience_api.node import NodeLease
from services.experience_api.refusals import ALREADY_CONNECTED, TOKEN_REFUSED, UNAVAILABLE, Refusal, Refused
from services.experience_api.registry.memory import MemoryRegistry
from services.experience_api.registry.notices import Lost, Notice, Probe, Why
from services.experience_api.registry.protocol import Claim, Client, Held, Node, Wish
from services.experience_api.seat import Seat
from services.experience_api.tokens import TokenClaims
from shared.clock import SYSTEM_CLOCK
from shared.errors import Unavailable
from shared.lease import Leases, MemoryLeaseStore
from shared.tasks import Tasks
from tests.unit.services.experience_api.hub.connections import connection
from tests.unit.services.experience_api.hub.transports import FakeTransport
from tests.unit.skipping_loop import SkippingLoop

PATIENCE = 10.0
ORIGIN = Origin(ip_address("192.0.2.1"), proxied=False)
OPTIONS = ConnectionsOptions(answer_within=0.05, look_every=600)


def claims(client_id: str = "demo", token: str = "first") -> TokenClaims:
    return TokenClaims(client_id, hashlib.sha256(token.encode()).digest())


class Socket:
    """A connection that answers, or does not."""

    def __init__(self, *, alive: bool = True) -> None:
        self.alive = alive
        self.ended: asyncio.Future[CloseReason] = asyncio.get_running_loop().create_future()

    def end(self, reason: CloseReason) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)

    async def answers(self, within: float) -> bool:
        if not self.alive:
            await asyncio.sleep(within)
        return self.alive


class Registry(MemoryRegistry):
    """Can be away, can lose notices, and counts what is asked of it."""

    away = False
    deaf = False
    silent = False
    claims = 0
    releases = 0

    async def claim(self, wish: Wish, instead_of: UUID | None = None) -> Claim | Held:
        self.claims += 1
        self._answer()
        return await super().claim(wish, instead_of)

    async def release(self, client_id: str, connection_id: UUID) -> None:
        self.releases += 1
        self._answer()
        await super().release(client_id, connection_id)

    async def held_by(self, node: Node) -> dict[UUID, str]:
        self._answer()
        return await super().held_by(node)

    async def invalid(self, tokens: Sequence[TokenClaims], good_for_days: float) -> dict[TokenClaims, Refusal]:
        if self.silent:
            raise Unavailable("the registry has just gone away")
        return await super().invalid(tokens, good_for_days)

    async def tell(self, notice: Notice) -> None:
        if not self.deaf:
            await super().tell(notice)

    def hearing_again(self) -> None:
        """Do what a listener does that was away."""
        self.deaf = False
        for hear in self._hearers:
            hear(None)

    def _answer(self) -> None:
        if self.away:
            raise Unavailable("the registry is away")


@dataclass
class World:
    """Replicas on one registry."""

    registry: Registry
    leases: MemoryLeaseStore
    stack: AsyncExitStack
    options: ConnectionsOptions

    async def replica(self, name: str) -> Connections:
        tasks = await self.stack.enter_async_context(Tasks())
        ready = asyncio.Event()
        leases = Leases(self.leases, name)
        node = NodeLease(leases, name, SYSTEM_CLOCK, lambda trouble: ready.set() if trouble is None else None)
        connections = Connections(self.registry, node, tasks, self.options, good_for_days=30)
        tasks.keep("node", node.keep(connections.lose_all))
        await ready.wait()
        await self.stack.enter_async_context(connections.open())
        return connections


@asynccontextmanager
async def a_world(options: ConnectionsOptions) -> AsyncIterator[World]:
    leases = MemoryLeaseStore()
    registry = Registry(leases)
    await registry.add(Client("demo", "x"))
    await registry.register(claims())
    async with AsyncExitStack() as stack:
        yield World(registry, leases, stack, options)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world(OPTIONS) as world:
        yield world


@asynccontextmanager
async def seated(
    replica: Connections, token: str = "first", *, alive: bool = True
) -> AsyncIterator[tuple[Seat, Socket]]:
    async with replica.seat(claims(token=token), ORIGIN) as seat:
        socket = Socket(alive=alive)
        seat.occupy(socket)
        yield seat, socket


async def refusal_of(replica: Connections, token: str = "first") -> Refusal:
    with pytest.raises(Refused) as refused:
        async with replica.seat(claims(token=token), ORIGIN):
            pytest.fail("let in")
    return refused.value.refusal


async def reason(socket: Socket) -> CloseReason:
    async with asyncio.timeout(PATIENCE):
        return await socket.ended


async def test_a_seat_is_claimed_and_released(world: World) -> None:
    replica = await world.replica("one")
    for _ in range(2):
        async with replica.seat(claims(), ORIGIN) as seat:
            assert seat.claim is not None
            assert seat.claim.connection_id == seat.connection_id
            assert list(await world.registry.held_by(Node("one", 1))) == [seat.connection_id]
        assert await world.registry.held_by(Node("one", 1)) == {}


async def test_a_refused_token_leaves_nothing_and_costs_no_release(world: World) -> None:
    replica = await world.replica("one")
    assert await refusal_of(replica, "another") is TOKEN_REFUSED
    assert not replica._seats
    assert world.registry.releases == 0


@pytest.mark.parametrize("second", ["one", "two"], ids=["same replica", "other replica"])
async def test_a_second_connection_is_refused_while_the_first_answers(world: World, second: str) -> None:
    first = await world.replica("one")
    replica = first if second == "one" else await world.replica("two")
    async with seated(first) as (_, socket):
        assert await refusal_of(replica) is ALREADY_CONNECTED
        assert not socket.ended.done()
    async with replica.seat(claims(), ORIGIN):
        pass


@pytest.mark.parametrize("second", ["one", "two"], ids=["same replica", "other replica"])
async def test_a_holder_that_does_not_answer_is_displaced(world: World, second: str) -> None:
    first = await world.replica("one")
    replica = first if second == "one" else await world.replica("two")
    async with seated(first, alive=False) as (_, silent), replica.seat(claims(), ORIGIN) as seat:
        assert await reason(silent) is TAKEN_OVER
        held = await world.registry.held_by(Node(second, 1))
        assert list(held) == [seat.connection_id]


@pytest.mark.parametrize("second", ["one", "two"], ids=["same replica", "other replica"])
@pytest.mark.parametrize("lost", ["nothing", "answers"])
def test_a_silent_holder_is_displaced_within_two_seconds(second: str, lost: str) -> None:
    """With a real connection, whose peer says nothing, and the settings that everybody has."""

    async def displace() -> float:
        async with a_world(ConnectionsOptions()) as world:
            first = await world.replica("one")
            replica = first if second == "one" else await world.replica("two")
            async with first.seat(claims(), ORIGIN) as held:
                silent = connection(FakeTransport())
                held.occupy(silent)
                world.registry.deaf = lost == "answers"
                began = asyncio.get_running_loop().time()
                async with replica.seat(claims(), ORIGIN) as seat:
                    took = asyncio.get_running_loop().time() - began
                    assert list(await world.registry.held_by(Node(second, 1))) == [seat.connection_id]
                    assert silent.ending is TAKEN_OVER or world.registry.deaf
        return took

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        took = runner.run(displace())
    assert 1.0 < took <= 2.0  # time to answer, and no longer than was promised


async def test_a_replica_that_hears_nothing_is_displaced_and_finds_out(world: World) -> None:
    first, second = await world.replica("one"), await world.replica("two")
    async with seated(first) as (_, cut_off):
        world.registry.deaf = True
        async with second.seat(claims(), ORIGIN) as seat:
            world.registry.hearing_again()
            assert await reason(cut_off) is CLAIM_LOST
            assert seat.lost is None


async def test_a_replica_that_hears_nothing_itself_displaces_nobody(world: World) -> None:
    first, second = await world.replica("one"), await world.replica("two")
    async with seated(first) as (_, socket):
        world.registry.deaf, world.registry.trouble = True, "not listening"
        assert await refusal_of(second) is UNAVAILABLE
        assert await refusal_of(first) is ALREADY_CONNECTED
        assert not socket.ended.done()
        assert list((await world.registry.held_by(Node("one", 1))).values()) == ["demo"]


async def test_a_holder_nobody_knows_any_more_is_displaced(world: World) -> None:
    replica, other = await world.replica("one"), await world.replica("two")
    async with replica.seat(claims(), ORIGIN):
        world.registry.away = True  # so that the release fails
    world.registry.away = False
    assert len(await world.registry.held_by(Node("one", 1))) == 1
    async with other.seat(claims(), ORIGIN):
        assert await world.registry.held_by(Node("one", 1)) == {}


async def test_a_claim_that_could_not_be_released_is_released_at_the_next_look(world: World) -> None:
    replica = await world.replica("one")
    async with replica.seat(claims(), ORIGIN):
        world.registry.away = True
    world.registry.away = False
    await replica.look()
    assert await world.registry.held_by(Node("one", 1)) == {}


async def test_a_claim_of_which_nothing_is_known_is_released(world: World) -> None:
    """The registry claimed, and its answer was lost."""
    replica = await world.replica("one")

    async def claim_and_fail(wish: Wish, instead_of: UUID | None = None) -> Claim | Held:
        await MemoryRegistry.claim(world.registry, wish, instead_of)
        raise Unavailable("the answer was lost")

    claim, world.registry.claim = world.registry.claim, claim_and_fail  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        async with replica.seat(claims(), ORIGIN):
            pytest.fail("let in")
    world.registry.claim = claim  # type: ignore[method-assign]
    assert await world.registry.held_by(Node("one", 1)) == {}


async def test_a_second_handshake_of_a_client_does_not_disturb_the_first(world: World) -> None:
    """However many come, each holder is asked for one of them at a time."""
    replica = await world.replica("one")
    async with seated(replica, alive=False) as (_, silent):
        seats = [asyncio.create_task(refusal_of(replica)) for _ in range(20)]
        async with replica.seat(claims(), ORIGIN):
            assert await reason(silent) is TAKEN_OVER
            assert set(await asyncio.gather(*seats)) == {ALREADY_CONNECTED}
    assert world.registry.claims <= 4


async def test_administration_closes_the_connection_with_its_reason(world: World) -> None:
    replica = await world.replica("one")
    async with seated(replica) as (_, socket):
        await world.registry.register(claims(token="second"))
        assert await reason(socket) is REPLACED
    async with seated(replica, "second") as (_, socket):
        await world.registry.disable("demo")
        assert await reason(socket) is DISABLED
    await world.registry.enable("demo")
    async with seated(replica, "second") as (_, socket):
        await world.registry.forget("demo")
        assert await reason(socket) is REMOVED
    assert world.registry.releases == 0


async def test_what_is_said_during_the_handshake_counts(world: World) -> None:
    replica = await world.replica("one")
    async with replica.seat(claims(), ORIGIN) as seat:
        await world.registry.register(claims(token="second"))
        assert seat.lost is REPLACED


async def test_notices_about_others_are_ignored(world: World) -> None:
    replica = await world.replica("one")
    async with seated(replica) as (_, socket):
        await world.registry.tell(Lost(uuid.uuid4(), Why.REMOVED))
        await world.registry.tell(Probe(uuid.uuid4(), "elsewhere", uuid.uuid4()))
        await replica.look()
        assert not socket.ended.done()


async def test_without_its_lease_a_replica_closes_its_connections_and_lets_nobody_in(world: World) -> None:
    replica = await world.replica("one")
    async with seated(replica) as (_, socket):
        replica.lose_all()
        assert await reason(socket) is CLAIM_LOST
    replica._node._lease = None
    assert await refusal_of(replica) is UNAVAILABLE


async def test_what_is_missed_while_nothing_was_heard_is_found(world: World) -> None:
    replica = await world.replica("one")
    async with seated(replica) as (_, socket):
        world.registry.deaf = True
        await world.registry.forget("demo")
        assert not socket.ended.done()
        world.registry.hearing_again()
        assert await reason(socket) is close_codes.TOKEN_REFUSED


async def test_why_is_told_where_a_claim_is_gone_without_a_notice(world: World) -> None:
    replica = await world.replica("one")
    for change, expected in (
        (world.registry.disable("demo"), close_codes.DISABLED),
        (world.registry.register(claims(token="second")), close_codes.TOKEN_REFUSED),
    ):
        world.registry.deaf = True
        await world.registry.enable("demo")
        async with seated(replica) as (_, socket):
            await change
            await replica.look()
            assert await reason(socket) is expected


async def test_a_claim_that_is_gone_is_lost_even_where_nobody_says_why(world: World) -> None:
    replica = await world.replica("one")
    async with seated(replica) as (_, socket):
        world.registry.deaf = True
        await world.registry.forget("demo")
        world.registry.silent = True
        await replica.look()
        assert await reason(socket) is CLAIM_LOST


async def test_a_look_leaves_those_alone_that_come_and_go(world: World) -> None:
    replica = await world.replica("one")
    for _ in range(50):
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(replica.look())
            async with seated(replica) as (seat, _):
                await looking
                assert seat.lost is None


async def test_a_registry_that_is_away_is_said(world: World) -> None:
    replica = await world.replica("one")
    world.registry.away = True
    with pytest.raises(Unavailable):
        async with replica.seat(claims(), ORIGIN):
            pytest.fail("let in")
    assert not replica._seats
