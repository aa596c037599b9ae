"""Adds clients, and replaces their secrets."""

import asyncio
import secrets
from collections.abc import Iterable

from services.experience_api.auth.credentials import client_id
from services.experience_api.auth.secrets import Bytes, Comparison, generate, hash_secret
from services.experience_api.hub.patterns import check_pattern
from services.experience_api.registry.clients import Client, Policy
from services.experience_api.registry.protocol import Clients
from shared.errors import Malformed

EVERY_CHANNEL = ("**",)


class ClientExists(Malformed):
    """A client with this id exists."""


async def add_client(  # noqa: PLR0913 -- the attributes of a client, by keyword
    clients: Clients,
    name: str,
    *,
    secret: str | None = None,
    channels: Iterable[str] = EVERY_CHANNEL,
    may_send: bool = False,
    loopback_only: bool = False,
    note: str = "",
    policy: Policy = Policy.PROBE,
    max_connections: int = 1,
    rng: Bytes = secrets.token_bytes,
) -> str:
    """Add a client and return its secret, generated unless given. Only its hash is stored.

    Raises:
        ClientExists: a client with this id exists; nothing has changed.
        Malformed: the id, the given secret or a channel pattern is invalid.
        Unavailable: the registry does not answer.
    """
    chosen = generate(rng) if secret is None else secret
    client = Client(
        client_id(name),
        await asyncio.to_thread(hash_secret, chosen, rng),
        tuple(check_pattern(pattern) for pattern in channels),
        may_send=may_send,
        loopback_only=loopback_only,
        note=note,
        policy=policy,
        max_connections=max_connections,
    )
    if not await clients.add(client):
        raise ClientExists(f"client {name!r} already exists")
    return chosen


async def rotate_secret(
    clients: Clients, name: str, *, secret: str | None = None, overlap: float = 0.0, rng: Bytes = secrets.token_bytes
) -> str | None:
    """Replace the secret of a client and return the new one, generated unless given; None if there is no such client.

    The secret before it remains valid for `overlap` seconds. One that was replaced earlier is not valid any more.

    Raises:
        Malformed: the given secret is invalid, or is the one that the client has.
        Unavailable: the registry does not answer.
    """
    client = await clients.find(name)
    if client is None:
        return None
    chosen = generate(rng) if secret is None else secret
    if await asyncio.to_thread(Comparison(rng).matches, chosen, [client.secret_hash]):
        raise Malformed("the secret is the one that the client has; expected another one")
    stored = await asyncio.to_thread(hash_secret, chosen, rng, client.secret_hash)
    return chosen if await clients.rotate(name, stored, overlap) else None
