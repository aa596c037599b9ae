"""An appender continues after unexpected errors."""

import asyncio

import asyncpg
import pytest

from shared.bus.postgres import PostgresBus
from shared.bus.protocol import Outgoing
from shared.errors import Unavailable
from tests.contracts.bus.records import TIMEOUT, visible

_REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused by the test'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON trelay.bus_batches FOR EACH ROW EXECUTE FUNCTION refuse();
"""


async def test_an_unexpected_error_ends_its_calls_and_not_the_appender(
    bus: PostgresBus, line: str, sql: asyncpg.Connection
) -> None:
    async with asyncio.timeout(TIMEOUT), bus.appender() as appender:
        await sql.execute(_REFUSE)
        with pytest.raises(Unavailable, match="refused by the test"):
            await appender.append(line, [Outgoing(b"k", b"lost")])
        await sql.execute("DROP TRIGGER refuse ON trelay.bus_batches")
        await appender.append(line, [Outgoing(b"k", b"kept")])
    assert await visible(bus, line) == ["kept"]
