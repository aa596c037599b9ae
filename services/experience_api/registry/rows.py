"""What the rows of the registry's statements say."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from uuid import UUID

import asyncpg

from services.experience_api import refusals
from services.experience_api.refusals import Refusal, Refused
from services.experience_api.registry.clients import Client, Connected, Consumer, Ending, Policy
from services.experience_api.registry.protocol import Claim, Held


def client_of(row: asyncpg.Record) -> Client:
    return Client(
        row["client_id"],
        row["secret_hash"],
        tuple(row["channels"]),
        may_send=row["may_send"],
        loopback_only=row["loopback_only"],
        disabled=row["disabled"],
        note=row["note"],
        policy=Policy(row["policy"]),
        max_connections=row["max_connections"],
        previous_secret_hash=row["previous_secret_hash"] if row["overlaps"] else None,
        previous_secret_until=row["previous_secret_until"] if row["overlaps"] else None,
        created_at=row["created_at"],
        tokens=row["token_count"],
        last_ending=_ending_of(row),
    )


def consumers_of(rows: Iterable[asyncpg.Record]) -> list[Consumer]:
    """Return consumers of rows with one connection each, or none; the rows of a consumer follow each other."""
    found = []
    for _, group in groupby(rows, itemgetter("client_id")):
        own = list(group)
        connections = tuple(
            Connected(row["connection_id"], row["node"], row["remote"], row["connected_at"])
            for row in own
            if row["connection_id"] is not None
        )
        first = own[0]
        ids = (first["client_id"], first["registered_at"], first["last_seen_at"])
        found.append(Consumer(*ids, connections, _ending_of(first), first["token_count"]))
    return found


def _ending_of(row: asyncpg.Record) -> Ending | None:
    if row["ended_at"] is None:
        return None
    return Ending(row["ended_code"], row["ended_reason"], row["ended_after"], row["ended_at"])


def refusal_of(row: asyncpg.Record) -> Refusal | None:
    if not row["known"]:
        return refusals.TOKEN_REFUSED
    if row["disabled"]:
        return refusals.CLIENT_DISABLED
    return None if row["good"] else refusals.TOKEN_EXPIRED


def verdict_of(
    rows: Sequence[asyncpg.Record], client_id: str, connection_id: UUID, *, loopback: bool
) -> Claim | Held | None:
    """Return the outcome of a claim; None if a conflicting one is not visible yet.

    There is a row for each connection that holds a claim, the oldest first; or one with what the claim displaces.
    """
    if not rows:
        raise Refused(refusals.TOKEN_REFUSED)
    row = rows[0]
    if row["disabled"]:
        raise Refused(refusals.CLIENT_DISABLED)
    if row["loopback_only"] and not loopback:
        raise Refused(refusals.LOOPBACK_ONLY)
    if not row["good"]:
        raise Refused(refusals.TOKEN_EXPIRED)
    if not row["leased"]:
        raise Refused(refusals.UNAVAILABLE, "this replica has lost its lease; try again")
    holders = tuple(_holder(each) for each in rows if each["holder"] is not None)
    if row["epoch"] is None:
        # A free slot that was not claimed has been taken meanwhile.
        return None if row["slot"] is not None or not holders else replace(holders[0], others=holders[1:])
    return Claim(
        client_id,
        connection_id,
        row["epoch"],
        tuple(row["channels"]),
        may_send=row["may_send"],
        displaced=holders[0] if holders else None,
        max_connections=row["max_connections"],
    )


def _holder(row: asyncpg.Record) -> Held:
    return Held(
        row["holder"],
        row["holder_node"],
        row["holder_remote"],
        row["holder_since"],
        Policy(row["policy"]),
        max_connections=row["max_connections"],
    )
