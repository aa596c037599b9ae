"""What operators do with the slot of a source."""

import asyncio
from urllib.parse import urlsplit

import asyncpg
import pytest

from services.system_api.sources.table.postgresql.replication import managing
from services.system_api.sources.table.postgresql.replication.log import slot_of
from services.system_api.sources.table.postgresql.replication.slot import Slot
from shared.errors import SettingsError
from tests.integration.services.system_api.sources.table.postgresql.replication.log_poller import (
    TABLE,
    changes,
    poller_of,
    settled,
)
from tests.integration.services.system_api.sources.table.table_poller import TablePoller, connected


async def test_a_slot_is_looked_at_created_and_dropped(logical_database: str, log: asyncpg.Connection) -> None:
    await log.execute(TABLE)
    options = poller_of(logical_database).options
    assert await managing.probe("orders", options) == f"slot {options.slot} does not exist yet; the source creates it"
    made = [f"publication {options.slot}", f"slot {options.slot}"]
    assert await managing.create("orders", options) == made
    assert (await managing.probe("orders", options)).endswith("bytes of log")
    await log.execute(f"DROP PUBLICATION {options.slot}")
    with pytest.raises(SettingsError, match=r"^system\.sources\.orders\.publication: there is no publication"):
        await managing.probe("orders", options)
    assert await managing.drop("orders", options) == made[1:]
    assert await managing.drop("orders", options) == []


async def test_row_level_security_is_said_not_to_apply_to_the_log(
    logical_database: str, log: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    _, _, name = logical_database.rpartition("/")
    account = f"reader_{name}"
    await log.execute(f"{TABLE}; CREATE ROLE {account} LOGIN REPLICATION; GRANT SELECT ON orders TO {account}")
    try:
        await log.execute("INSERT INTO orders VALUES (1, 'a'), (2, 'b')")
        parts = urlsplit(logical_database)
        poller = poller_of(parts._replace(netloc=f"{account}@{parts.netloc.rpartition('@')[2]}").geturl())
        options = poller.options
        await log.execute(f"CREATE PUBLICATION {options.slot} FOR TABLE orders")
        await settled(poller)
        assert "row-level security" not in await managing.probe("orders", options)
        assert "row-level security" not in caplog.text
        await log.execute("CREATE POLICY own ON orders USING (id > 1); ALTER TABLE orders ENABLE ROW LEVEL SECURITY")
        await log.execute("INSERT INTO orders VALUES (0, 'c')")
        await settled(poller)
        assert "; row-level security of public.orders does not apply" in await managing.probe("orders", options)
        (record,) = [each for each in caplog.records if each.message.startswith("row-level security")]
        assert record.table == "orders"  # type: ignore[attr-defined]
        assert changes(poller) == [("order", "1", "a"), ("order", "2", "b"), ("order", "0", "c")]
    finally:
        await log.execute(f"DROP OWNED BY {account}; DROP ROLE {account}")


async def test_a_slot_is_created_after_a_transaction_that_is_open_for_long(
    logical_database: str, log: asyncpg.Connection
) -> None:
    await log.execute(TABLE)
    options = poller_of(logical_database, poll_timeout=1).options
    async with connected(logical_database) as other:
        async with other.transaction():
            await other.execute("INSERT INTO orders VALUES (1)")
            creating = asyncio.create_task(managing.create("orders", options))
            done, _ = await asyncio.wait({creating}, timeout=4)
            assert not done
        assert await creating == [f"publication {options.slot}", f"slot {options.slot}"]


def test_the_slot_has_the_name_of_the_source_by_default() -> None:
    options = TablePoller("postgresql://db/shop", mode="replication", publication="p").options
    assert slot_of("Orders.é-1", options) == Slot("trelay_orders___1", "p")
