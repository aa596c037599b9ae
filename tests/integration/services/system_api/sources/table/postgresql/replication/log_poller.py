"""What the tests of `mode: replication` share: a table, a poller, and the changes of its events."""

import random
from typing import Any

from tests.integration.services.system_api.sources.table.table_poller import TablePoller

TABLE = "CREATE TABLE orders (id int PRIMARY KEY, v text, j jsonb)"


def poller_of(database: str, **more: Any) -> TablePoller:
    return TablePoller(database, mode="replication", slot=f"s{random.getrandbits(64):x}", create_slot=True, **more)


def changes(poller: TablePoller, since: int = 0) -> list[tuple[str, str, Any]]:
    """Return the changes of the events: type, subject and data without the key."""
    return [(event["type"], event["subject"], event["data"].get("v")) for event in poller.events[since:]]


async def settled(poller: TablePoller, limit: int = 1000) -> None:
    """Open the source, poll until nothing more is waiting, and settle each batch."""
    async with poller.opened() as source:
        more = True
        while more:
            batch = await source.poll(limit)
            poller.save(batch)
            await source.settle(batch)  # type: ignore[attr-defined]
            more = batch.more
