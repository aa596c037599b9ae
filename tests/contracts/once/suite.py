"""What every store of idempotency keys promises."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest

from services.experience_api.producers.once.keys import Key
from services.experience_api.producers.once.store import KeyState, KeyStore
from services.experience_api.registry.protocol import Node
from shared.errors import Fenced
from shared.runtime.tasks import together

A, B, C = (Key(bytes([number]) * 32, b"f" * 32) for number in range(3))


class Deployment(Protocol):
    """One database, and the replicas that use it."""

    def connect(self) -> AbstractAsyncContextManager[KeyStore]:
        """Connect as a replica."""
        ...

    async def alive(self, name: str) -> Node:
        """Return a replica that holds its lease."""
        ...

    async def dies(self, node: Node) -> None:
        """Let the lease of a replica expire."""

    async def pass_hours(self, hours: float) -> None:
        """Move every claim so far into the past."""


class KeyStoreSuite:
    """Each implementation inherits these tests, with fixtures of its own."""

    @pytest.fixture
    async def node(self, deployment: Deployment) -> Node:
        return await deployment.alive("one")

    async def test_a_new_key_is_claimed_and_published_once_its_round_is(
        self, deployment: Deployment, node: Node
    ) -> None:
        async with deployment.connect() as store, deployment.connect() as other:
            await store.open("w", node)
            await other.open("v", node)
            assert await store.claim("w", 1, [A, B], 0) == [KeyState.CLAIMED] * 2
            assert await other.claim("v", 1, [B, A, C], 0) == [*[KeyState.IN_PROGRESS] * 2, KeyState.CLAIMED]
            await store.committed("w", 1)
            assert await other.claim("v", 2, [A, B], 0) == [KeyState.PUBLISHED] * 2
            assert await store.claim("w", 2, [C], 1) == [KeyState.IN_PROGRESS]

    async def test_a_writer_knows_its_own_rounds_before_they_are_noted(
        self, deployment: Deployment, node: Node
    ) -> None:
        async with deployment.connect() as store:
            await store.open("w", node)
            await store.claim("w", 1, [A], 0)
            assert await store.claim("w", 2, [A, B], 1) == [KeyState.PUBLISHED, KeyState.CLAIMED]
            assert await store.claim("w", 3, [B], 1) == [KeyState.IN_PROGRESS]

    async def test_another_request_with_a_key_is_different(self, deployment: Deployment, node: Node) -> None:
        other, unknown = A._replace(fingerprint=b"g" * 32), A._replace(fingerprint=None)
        async with deployment.connect() as store:
            await store.open("w", node)
            await store.claim("w", 1, [A], 0)
            assert await store.claim("w", 2, [other], 0) == [KeyState.DIFFERENT]
            assert await store.claim("w", 3, [other], 1) == [KeyState.DIFFERENT]
            assert await store.claim("w", 4, [unknown], 1) == [KeyState.PUBLISHED]

    async def test_a_key_that_is_released_is_new(self, deployment: Deployment, node: Node) -> None:
        async with deployment.connect() as store:
            await store.open("w", node)
            await store.claim("w", 1, [A, B], 0)
            await store.release("w", 1, [A])
            await store.release("w", 2, [B])
            assert await store.claim("w", 3, [A, B], 0) == [KeyState.CLAIMED, KeyState.IN_PROGRESS]

    async def test_a_closed_writer_claims_nothing_and_what_it_did_not_publish_is_void(
        self, deployment: Deployment, node: Node
    ) -> None:
        async with deployment.connect() as store:
            await store.open("w", node)
            await store.open("v", node)
            await store.claim("w", 1, [A], 0)
            await store.claim("w", 2, [B], 1)
            await store.close("w", 1)
            await store.close("w", 2)
            await store.committed("w", 2)
            with pytest.raises(Fenced):
                await store.claim("w", 3, [C], 1)
            assert await store.claim("v", 1, [A, B, C], 0) == [
                KeyState.PUBLISHED,
                KeyState.CLAIMED,
                KeyState.CLAIMED,
            ]

    async def test_the_writers_of_a_replica_that_is_gone_are_abandoned(
        self, deployment: Deployment, node: Node
    ) -> None:
        async with deployment.connect() as store:
            another = await deployment.alive("two")
            await store.open("w", node)
            await store.open("v", another)
            await store.claim("w", 1, [A], 0)
            assert (await store.sweep(24, 10)).abandoned == []
            await deployment.dies(node)
            assert (await store.sweep(24, 10)).abandoned == ["w"]
            assert await store.claim("v", 1, [A], 0) == [KeyState.ABANDONED]
            await store.close("w", 0)
            assert (await store.sweep(24, 10)).abandoned == []
            assert await store.claim("v", 2, [A], 0) == [KeyState.CLAIMED]

    async def test_of_concurrent_claims_one_succeeds(self, deployment: Deployment, node: Node) -> None:
        names = [f"w{number}" for number in range(8)]
        keys = [Key(bytes([number]) * 32, None) for number in range(20)]
        async with deployment.connect() as store, deployment.connect() as other:
            await store.open("void", node)
            await store.claim("void", 1, keys[:10], 0)
            await store.close("void", 0)
            for name in names:
                await store.open(name, node)
            found = await together(
                *(
                    (store, other)[number % 2].claim(name, 1, keys[:: (1, -1)[number % 2]], 0)
                    for number, name in enumerate(names)
                )
            )
        for key in range(len(keys)):
            states = [states[:: (1, -1)[number % 2]][key] for number, states in enumerate(found)]
            assert sorted(states, key=str) == [KeyState.CLAIMED, *[KeyState.IN_PROGRESS] * (len(names) - 1)]

    async def test_keys_are_forgotten_after_their_window_and_not_before(
        self, deployment: Deployment, node: Node
    ) -> None:
        async with deployment.connect() as store:
            await store.open("w", node)
            await store.claim("w", 1, [A], 0)
            await deployment.pass_hours(20)
            await store.claim("w", 2, [B], 1)
            assert (await store.sweep(24, 3)).full is False
            assert (await store.sweep(24, 2)).full is True
            assert await store.claim("w", 3, [A, B], 2) == [KeyState.PUBLISHED] * 2
            await deployment.pass_hours(5)
            assert (await store.sweep(24, 2)).full is False
            assert await store.claim("w", 4, [A, B], 2) == [KeyState.CLAIMED, KeyState.PUBLISHED]
