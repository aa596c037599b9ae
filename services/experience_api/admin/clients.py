"""Manages clients: what both `trelay clients` and the admin API do."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Protocol

from services.experience_api.admin.views import View, client_view
from services.experience_api.auth.clients import EVERY_CHANNEL, add_client, rotate_secret
from services.experience_api.auth.secrets import Bytes
from services.experience_api.hub.patterns import check_pattern
from services.experience_api.registry.clients import Client, ClientChange, Policy
from services.experience_api.registry.protocol import Clients, Consumers
from shared.errors import Malformed, TrelayError

_PAGE = 1000
"""Clients that are read at once."""
CHANNELS_LIMIT = 1000
CONNECTIONS_LIMIT = 100
"""Each connection beyond the limit of its client asks all others whether they live."""
SECRET_MINIMUM = 15
"""Characters of a chosen secret, as OWASP ASVS 5.0 (6.2.1) advises: one that is shorter can be guessed."""
NOTE_LIMIT = 500
OVERLAP_LIMIT = 30 * 86_400.0
"""Seconds for which a replaced secret can remain valid."""


class Store(Clients, Consumers, Protocol):
    """What it manages."""


class UnknownClient(TrelayError):
    """There is no client of this id."""

    def __init__(self, client_id: str) -> None:
        super().__init__(f"found no client {client_id[:80]!r}")


@dataclass(frozen=True, slots=True)
class NewClient:
    """A client to add."""

    client_id: str
    secret: str | None = None
    """None generates one."""
    channels: tuple[str, ...] = EVERY_CHANNEL
    may_send: bool = False
    loopback_only: bool = False
    note: str = ""
    policy: Policy = Policy.PROBE
    max_connections: int = 1


class ClientAdmin:
    """Manages clients in a registry. Every method raises `Unavailable` if that does not answer."""

    def __init__(self, store: Store, rng: Bytes = secrets.token_bytes) -> None:
        self._store = store
        self._rng = rng

    async def page(self, after: str = "", limit: int = _PAGE) -> list[View]:
        """Return the clients whose ids are after `after`, by id; at most `limit` of them."""
        return [client_view(client) for client in await self._store.page(after, limit)]

    async def all(self) -> AsyncIterator[View]:
        """Yield every client, by id."""
        after = ""
        while found := await self.page(after, _PAGE):
            for view in found:
                yield view
            after = found[-1]["client_id"]

    async def show(self, client_id: str) -> View:
        """Return a client.

        Raises:
            UnknownClient: there is none.
        """
        return client_view(await self._found(client_id))

    async def add(self, new: NewClient) -> View:
        """Add a client. A generated secret is in `client_secret`, and is not stored.

        Raises:
            ClientExists: a client with this id exists.
            Malformed: a member is invalid.
        """
        check_note(new.note)
        check_channels(new.channels)
        check_max_connections(new.max_connections)
        check_secret(new.client_id, new.secret)
        secret = await add_client(
            self._store,
            new.client_id,
            secret=new.secret,
            channels=new.channels,
            may_send=new.may_send,
            loopback_only=new.loopback_only,
            note=new.note,
            policy=new.policy,
            max_connections=new.max_connections,
            rng=self._rng,
        )
        return await self._with_secret(new.client_id, None if new.secret is not None else secret)

    async def rotate(self, client_id: str, overlap: float, secret: str | None = None) -> View:
        """Replace the secret of a client. A generated one is in `client_secret`, and is not stored.

        The secret before it remains valid for `overlap` seconds; tokens and connections stay.

        Raises:
            UnknownClient: there is none.
            Malformed: the overlap or the given secret is invalid.
        """
        if not 0 <= overlap <= OVERLAP_LIMIT:  # refuses NaN as well
            raise Malformed(f"overlap: found {overlap:g}; expected 0 to {OVERLAP_LIMIT:.0f} seconds (30 days)")
        check_secret(client_id, secret)
        chosen = await rotate_secret(self._store, client_id, secret=secret, overlap=overlap, rng=self._rng)
        if chosen is None:
            raise UnknownClient(client_id)
        return await self._with_secret(client_id, None if secret is not None else chosen)

    async def change(self, client_id: str, change: ClientChange) -> View:
        """Change a client.

        Raises:
            UnknownClient: there is none.
            Malformed: a member is invalid.
        """
        if change.note is not None:
            check_note(change.note)
        if change.max_connections is not None:
            check_max_connections(change.max_connections)
        if change.channels is not None:
            checked = check_channels(change.channels)
            change = replace(change, channels=tuple(check_pattern(pattern) for pattern in checked))
        if not await self._store.change(client_id, change):
            raise UnknownClient(client_id)
        return await self.show(client_id)

    async def disable(self, client_id: str) -> View:
        """Refuse the client's registrations and connections, and end its connection.

        Raises:
            UnknownClient: there is none.
        """
        if not await self._store.disable(client_id):
            raise UnknownClient(client_id)
        return await self.show(client_id)

    async def enable(self, client_id: str) -> View:
        """Undo `disable`.

        Raises:
            UnknownClient: there is none.
        """
        if not await self._store.enable(client_id):
            raise UnknownClient(client_id)
        return await self.show(client_id)

    async def revoke(self, client_id: str) -> View:
        """Invalidate the client's token, and end its connection. The client can register again.

        Raises:
            UnknownClient: there is none.
        """
        client = await self._found(client_id)
        return {"client_id": client.client_id, "revoked": await self._store.unregister(client_id)}

    async def remove(self, client_id: str) -> View:
        """Delete a client with its token, and end its connection.

        Raises:
            UnknownClient: there is none.
        """
        if not await self._store.remove(client_id):
            raise UnknownClient(client_id)
        return {"client_id": client_id, "removed": True}

    async def _with_secret(self, client_id: str, secret: str | None) -> View:
        view = await self.show(client_id)
        return view if secret is None else {"client_id": client_id, "client_secret": secret, **view}

    async def _found(self, client_id: str) -> Client:
        client = await self._store.find(client_id)
        if client is None:
            raise UnknownClient(client_id)
        return client


def check_channels(channels: tuple[str, ...]) -> tuple[str, ...]:
    """Check how many patterns there are; return them.

    Raises:
        Malformed: too many.
    """
    if len(channels) > CHANNELS_LIMIT:
        raise Malformed(f"channels: found {len(channels)} patterns; expected at most {CHANNELS_LIMIT}")
    return channels


def check_note(note: str) -> None:
    """Check a note.

    Raises:
        Malformed: it is too long, or holds what PostgreSQL cannot store.
    """
    if len(note) > NOTE_LIMIT or "\0" in note:
        raise Malformed(f"note: expected at most {NOTE_LIMIT} characters, and no NUL")


def check_max_connections(number: int) -> None:
    """Check how many connections a client may have.

    Raises:
        Malformed: too few or too many.
    """
    if not 1 <= number <= CONNECTIONS_LIMIT:
        raise Malformed(f"max_connections: found {number}; expected 1 to {CONNECTIONS_LIMIT}")


def check_secret(client_id: str, secret: str | None) -> None:
    """Check a secret that somebody has chosen; None stands for one that is generated.

    Raises:
        Malformed: it is too short, or made of the name of the client. The text holds nothing of it.
    """
    if secret is None:
        return
    advice = "or no secret: then a random one is generated"
    if len(secret) < SECRET_MINIMUM:
        raise Malformed(f"secret: found {len(secret)} characters; expected {SECRET_MINIMUM} at least, {advice}")
    if not secret.casefold().replace(client_id.casefold(), "").strip("0123456789-_. "):
        raise Malformed(f"secret: found the id of the client and digits; expected one that nobody guesses, {advice}")
