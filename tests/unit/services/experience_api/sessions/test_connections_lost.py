import asyncio
from contextlib import AsyncExitStack

from services.experience_api.hub.close_codes import CLAIM_LOST, DISABLED, CloseReason
from services.experience_api.registry.clients import Client, ClientChange
from services.experience_api.registry.notices import Notice
from services.experience_api.registry.protocol import Node
from services.experience_api.sessions.options import ConnectionsOptions
from tests.unit.services.experience_api.sessions.replicas import (
    OPTIONS,
    ORIGIN,
    Socket,
    a_deployment,
    claims,
    connected,
    reason,
)
from tests.unit.skipping_loop import SkippingLoop


class Timed(Socket):
    """Records when it was ended."""

    ended_at = 0.0

    def end(self, reason: CloseReason, wait: float | None = None) -> None:
        self.ended_at = asyncio.get_running_loop().time()
        super().end(reason, wait)


def test_many_connections_are_ended_in_waves_with_times_to_reconnect_that_differ() -> None:
    """All claims of a replica are void, for example because another process has its name."""

    async def lose() -> tuple[list[float], list[float]]:
        async with a_deployment(OPTIONS) as deployment, AsyncExitStack() as stack:
            replica = await deployment.replica("one")
            for number in range(150):
                token = claims(f"client-{number}", "its own")
                await deployment.registry.add(Client(token.client_id, "x"))
                await deployment.registry.register(token)
                slot = await stack.enter_async_context(replica.slot(token, ORIGIN))
                slot.attach(socket := Timed())
                sockets.append(socket)
            began = asyncio.get_running_loop().time()
            replica.lose_all()
            for socket in sockets:
                assert await reason(socket) is CLAIM_LOST
            return [socket.ended_at - began for socket in sockets], [socket.wait or 0.0 for socket in sockets]

    sockets: list[Timed] = []
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        ends, waits = runner.run(lose())
    assert 0.4 <= max(ends) < 2.0
    assert len({round(end, 3) for end in ends}) == 6
    assert len(set(waits)) == 150
    assert min(waits) >= 1.0
    assert max(waits) > 8.0


async def test_connections_end_that_a_replica_of_the_previous_release_has_not_revoked() -> None:
    """It knows the first connection of a client alone."""
    async with a_deployment(OPTIONS) as deployment:
        one = await deployment.replica("one")
        await deployment.registry.change("demo", ClientChange(max_connections=2))
        async with connected(one) as (_, first), connected(one) as (_, second):
            await one.reconcile()
            assert not first.ended.done()
            assert not second.ended.done()
            deployment.registry._set_disabled("demo", disabled=True)
            await one.reconcile()
            assert await reason(first) is DISABLED
            assert await reason(second) is DISABLED
        await one.reconcile()
        assert await deployment.registry.held_by(Node("one", 1)) == {}


def test_revocations_are_found_after_a_look_with_an_error_that_nobody_expects() -> None:
    async def revoked() -> CloseReason:
        async with a_deployment(ConnectionsOptions(revocation_interval=0.05, reconcile_interval=600)) as deployment:
            one, registry = await deployment.replica("one"), deployment.registry
            registry.loses_notices, errors, found = True, [KeyError(), KeyError()], registry.take_notices

            async def take_notices(node: Node) -> list[Notice]:
                if errors:
                    raise errors.pop()
                return await found(node)

            registry.take_notices = take_notices  # type: ignore[method-assign]
            async with connected(one) as (_, socket):
                await registry.disable("demo")
                return await reason(socket)

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        assert runner.run(revoked()) is DISABLED
