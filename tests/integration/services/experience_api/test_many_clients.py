"""What operators read of many clients is what they ask for, and not all before it."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from services.experience_api.registry import statements
from shared.database.options import DatabaseOptions

CLIENTS = 20_000
"""So many that another plan reads more than a page."""
_FILL = (
    """
    INSERT INTO trelay.clients (client_id, secret_hash, channels)
    SELECT 'c' || number, '', '{**}' FROM generate_series(1, $1) AS number
    """,
    """
    INSERT INTO trelay.consumers (client_id, token_hash)
    SELECT 'c' || number, sha256(number::text::bytea) FROM generate_series(1, $1) AS number
    """,
)


@pytest.fixture
async def sql(migrated_database: DatabaseOptions) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(migrated_database.url)
    try:
        for statement in _FILL:
            await connection.execute(statement, CLIENTS)
        await connection.execute("ANALYZE trelay.clients, trelay.consumers")
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("statement", "arguments"), [(statements.PAGE, ("c5", 100)), (statements.CONSUMERS, ("c5", 100, None))]
)
async def test_a_page_reads_no_more_than_itself(
    sql: asyncpg.Connection, statement: str, arguments: tuple[object, ...]
) -> None:
    await sql.execute("SET plan_cache_mode = force_generic_plan")
    plan = json.loads(await sql.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *arguments))
    read = {
        f"{node['Node Type']} of {node['Relation Name']}": (node["Actual Rows"] + _removed(node)) * node["Actual Loops"]
        for node in nodes(plan[0]["Plan"])
        if node.get("Relation Name") in {"clients", "consumers"}
    }
    assert read
    assert max(read.values()) <= 101, read


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for each in node.get("Plans", ()):
        yield from nodes(each)


def _removed(node: dict[str, Any]) -> float:
    return sum(float(value) for name, value in node.items() if name.startswith("Rows Removed"))
