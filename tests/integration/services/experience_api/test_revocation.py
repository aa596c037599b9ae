"""Revocation on every replica, also where notifications of the database do not arrive."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic

import pytest

from services.experience_api.admin.clients import ClientAdmin
from services.experience_api.auth.clients import ClientExists, add_client
from services.experience_api.registry.clients import ClientChange
from services.experience_api.registry.postgres import PostgresRegistry
from services.experience_api.registry.protocol import OnNotice
from tests.integration.services.experience_api.replicas import TIMEOUT, Deployment, Replica, Subscription

DEMO = {"Client-Id": "demo", "Client-Secret": "demo"}


class Deaf(PostgresRegistry):
    """Receives no notifications, as behind a pool that does not support LISTEN."""

    @asynccontextmanager
    async def listening(self, on_notice: OnNotice) -> AsyncIterator[None]:
        on_notice(None)
        yield


async def test_a_connection_is_revoked_within_two_seconds_without_notifications(deployment: Deployment) -> None:
    async with (
        Deaf.opened(deployment.database) as deaf,
        deployment.replica() as one,
        deployment.replica(registry=deaf) as holder,
    ):

        async def register() -> None:
            await one.register()

        async def unregister() -> None:
            assert (await one.request("DELETE", "/consumers", DEMO)).status == 204

        async def disable() -> None:
            assert await one.registry.disable("demo")

        async def remove() -> None:
            assert await one.registry.enable("demo")
            assert await one.registry.remove("demo")

        for revoke, code_expected, refusal in (
            (register, 4501, "token-refused"),
            (unregister, 4503, "token-refused"),
            (remove, 4503, "token-refused"),
            (disable, 4504, "client-disabled"),
        ):
            await add_demo(one)
            token = await one.register()
            async with holder.connect(token) as subscription:
                await subscription.next()
                began = monotonic()
                await revoke()
                code, _ = await subscription.closed()
                print(f"{code} after {monotonic() - began:.2f} s")
                assert code == code_expected
            for replica in (one, holder):
                assert (await replica.upgrade(token)).code == refusal


async def test_a_client_that_may_not_send_any_more_cannot_on_its_living_connection(deployment: Deployment) -> None:
    async with deployment.replica() as one, deployment.replica() as holder:
        await one.registry.change("demo", ClientChange(may_send=True))
        token = await one.register()
        async with holder.connect(token) as subscription:
            await subscription.next()
            await subscription.socket.send_str('{"number": 1}')
            assert (await subscription.next())["type"] == "trelay.accepted"
            await one.registry.change("demo", ClientChange(may_send=False))
            assert await subscription.closed() == (4007, "disconnected by an operator; wait=1.0")
        async with holder.connect(token) as subscription:
            assert "largest_message" not in (await subscription.next())["data"]
            await subscription.socket.send_str('{"number": 2}')
            assert (await subscription.closed())[0] == 4500


@pytest.mark.parametrize("path", ["/sse/publish?", "/events?wait=60&"])
async def test_a_response_ends_too_when_a_permission_changes(deployment: Deployment, path: str) -> None:
    async with deployment.replica() as one, deployment.replica() as holder:
        token = await one.register()

        bearer = {"Authorization": f"Bearer {token}"}
        cursor = (await holder.request("GET", "/events", bearer)).json["cursor"]
        await deployment.until_no_connection()

        async def ask() -> str:
            return (await holder.request("GET", f"{path}cursor={cursor}", bearer)).text

        async with deployment.sql() as database, asyncio.timeout(TIMEOUT):
            asking = asyncio.create_task(ask())
            try:
                while not await database.fetchval("SELECT count(*) FROM trelay.connections"):
                    await asyncio.sleep(0.005)
                await one.registry.change("demo", ClientChange(may_send=True))
                assert "4007" in await asking
            finally:
                asking.cancel()
        await deployment.until_no_connection()


async def test_a_replaced_token_stays_good_for_the_overlap(deployment: Deployment) -> None:
    overlapping = {"tokens": {"registration_overlap": 2}}
    async with deployment.replica(overlapping) as one, deployment.replica(overlapping) as other:
        old = await one.register()
        async with other.connect(old) as subscription:
            await subscription.next()
            new = await one.register()
            await one.push("orders", 1)
            assert (await subscription.next())["data"] == {"number": 1}
            assert await subscription.closed() == (4501, "replaced by a new registration")
        assert (await one.upgrade(old)).code == "token-refused"
        async with one.connect(new) as subscription:
            await works(one, subscription)


async def test_a_replaced_secret_registers_for_the_overlap_on_every_replica(deployment: Deployment) -> None:
    async with deployment.replica() as one, deployment.replica() as other:
        admin = ClientAdmin(one.registry)
        token = await one.register()  # the secret is known, and compared before, on this replica
        async with other.connect(token) as subscription:
            await subscription.next()
            new = (await admin.rotate("demo", 3600.0))["client_secret"]
            await works_on(one, subscription)  # neither the token nor the connection is affected
        for replica in (one, other):
            await replica.register()
            await replica.register(secret=new)
        newest = (await admin.rotate("demo", 0.0))["client_secret"]
        for replica in (one, other):
            for secret in ("demo", new):
                refused = await replica.request("POST", "/consumers", {"client_id": "demo", "client_secret": secret})
                assert refused.code == "wrong-credentials"
            await replica.register(secret=newest)


async def add_demo(replica: Replica) -> None:
    with suppress(ClientExists):
        await add_client(replica.registry, "demo", secret="demo")


async def works_on(replica: Replica, subscription: Subscription) -> None:
    await replica.push("orders", 2)
    assert (await subscription.next())["data"] == {"number": 2}


async def works(replica: Replica, subscription: Subscription) -> None:
    """Push an event, and receive it."""
    await subscription.next()
    await works_on(replica, subscription)
