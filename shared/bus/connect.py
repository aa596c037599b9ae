"""The bus that the section `bus` of the settings selects."""

from contextlib import AbstractAsyncContextManager
from typing import Annotated, assert_never

from pydantic import Field

from shared.bus.kafka import KafkaOptions
from shared.bus.postgres import PostgresBusOptions, connect_postgres
from shared.bus.protocol import Bus
from shared.database.migrations import migrate
from shared.database.options import DatabaseOptions
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.extras import extra

BusOptions = Annotated[KafkaOptions | PostgresBusOptions, Field(discriminator="kind")]
"""`kind: kafka`, or `kind: postgres`, which uses the database of the section `database`."""


async def prepare(options: BusOptions, database: DatabaseOptions) -> None:
    """Create or update what the bus needs before `connect`: its tables, where it has any.

    Raises:
        Unavailable: the database does not answer; try again.
        SettingsError: a file that `database` names cannot be read.
    """
    match options:
        case KafkaOptions():
            return
        case PostgresBusOptions():
            await migrate(database)
        case _:
            assert_never(options)


def connect(
    options: BusOptions, database: DatabaseOptions, *, clock: Clock = SYSTEM_CLOCK
) -> AbstractAsyncContextManager[Bus]:
    """Connect to the bus for as long as the context lasts. A connected bus survives outages; see `Bus.problem`.

    Raises (on entering):
        Unavailable: it does not answer; try again.
        SettingsError: the settings cannot work, or the extra `kafka` is not installed.
    """
    match options:
        case KafkaOptions():
            with extra("kafka", "bus.kind: kafka"):
                from shared.bus.kafka.bus import connect_kafka  # noqa: PLC0415 -- aiokafka is an extra
            return connect_kafka(options, clock=clock)
        case PostgresBusOptions():
            return connect_postgres(options, database, clock=clock)
        case _:
            assert_never(options)
