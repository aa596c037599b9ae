"""Each kind of bus has its implementation."""

import pytest

from services.standalone.embedded.process import free_port
from shared.bus.connect import BusOptions, connect, prepare
from shared.bus.kafka import KafkaOptions
from shared.bus.postgres import PostgresBusOptions
from shared.database.options import DatabaseOptions
from shared.errors import Unavailable

NOT_LISTENING = f"127.0.0.1:{free_port()}"
DATABASE = DatabaseOptions(url=f"postgresql://trelay@{NOT_LISTENING}/trelay")


@pytest.mark.parametrize("options", [KafkaOptions(servers=NOT_LISTENING), PostgresBusOptions()])
async def test_each_kind_connects_to_its_own_server_and_names_its_address_where_it_is_away(options: BusOptions) -> None:
    with pytest.raises(Unavailable, match=NOT_LISTENING):
        async with connect(options, DATABASE):
            pass


async def test_a_bus_in_the_database_has_its_tables_migrated() -> None:
    with pytest.raises(Unavailable, match=NOT_LISTENING):
        await prepare(PostgresBusOptions(), DATABASE)


async def test_a_bus_outside_the_database_needs_no_tables() -> None:
    await prepare(KafkaOptions(servers=NOT_LISTENING), DATABASE)
