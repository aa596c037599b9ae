"""Makes searches and evidence for these tests."""

import dataclasses
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from services.experience_api.explain.evidence import Evidence
from services.experience_api.explain.search import Found, Search, Stage
from services.experience_api.registry.clients import Client, Connected, Consumer
from services.experience_api.registry.notices import ConnectionDetails
from services.experience_api.wire.cursor import CursorCodec

CODEC = CursorCodec("epoch", 2)
ONE = UUID(int=1)
MINUTE = 60_000
AT = 1_700_000_000_000
"""When the event was published."""


def search(*found: Found, cut: tuple[Stage, ...] = ()) -> Search:
    """Return a search that is done."""
    return Search("orders:7", "", AT - MINUTE, AT + MINUTE, 1, Stage.DONE, found=list(found), cut=list(cut))


INGESTED = Found(Stage.INGEST, 1, 40, AT - 20, "C-1", "orders", AT - 30)
PUBLISHED = Found(Stage.PUBLISH, 0, 10, AT, "orders.eu", "orders", AT - 30)
REFUSED = Found(Stage.DEAD_LETTER, 0, 3, AT, "orders:7", "orders", 0, "orders@1f", "step 1: no total")
UNREADABLE = Found(Stage.DEAD_LETTER, 0, 4, AT, "orders:7", "orders", 0, "", "line 7: not JSON")
PUSHED = Found(Stage.PUBLISH, 0, 10, AT, "orders.eu", "entity")


def moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def consumer(since: int | None = AT - MINUTE, last_seen: int = AT) -> Consumer:
    connections = () if since is None else (Connected(ONE, "experience-0", "10.0.0.1", moment(since)),)
    return Consumer("shop", moment(AT - 10 * MINUTE), moment(last_seen), connections)


def details(*reached: int, **more: Any) -> ConnectionDetails:
    """What a replica tells of a connection that was served up to these offsets."""
    cursor = CODEC.encode(reached or (11, 0)).decode()
    made = ConnectionDetails(ONE, ("orders.*",), cursor, 5, live=True, buffered=0, acknowledged=None)
    fields = {name: getattr(made, name) for name in made.__struct_fields__}
    return ConnectionDetails(**{**fields, **more})


def evidence(*found: Found, **more: Any) -> Evidence:
    """What is known where all went well, but for `more`; `found` as for `search`."""
    usual: dict[str, Any] = {
        "committed": 41,
        "client": Client("shop", "hash", ("orders.*",)),
        "consumer": consumer(),
        "details": {ONE: details()},
    }
    cut = more.pop("cut", ())
    known = Evidence(search(*(found or (INGESTED, PUBLISHED)), cut=cut), "shop", CODEC, 60 * MINUTE, AT + MINUTE)
    return dataclasses.replace(known, **{**usual, **more})
