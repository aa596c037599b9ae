"""The one place that maps a kind of bus to its implementation."""

from contextlib import AbstractAsyncContextManager
from typing import assert_never

from shared.bus.kafka import KafkaOptions, connect_kafka
from shared.bus.options import BusOptions
from shared.bus.postgres import PostgresBusOptions, connect_postgres
from shared.bus.protocol import Bus
from shared.clock import SYSTEM_CLOCK, Clock
from shared.database.options import DatabaseOptions


def connect(
    options: BusOptions, database: DatabaseOptions, *, clock: Clock = SYSTEM_CLOCK
) -> AbstractAsyncContextManager[Bus]:
    """Connect to the bus for as long as the context lasts. Once connected it outlives outages: see `Bus.trouble`.

    Raises (on entering):
        Unavailable: it does not answer; try again.
        SettingsError: the settings cannot work.
    """
    match options:
        case KafkaOptions():
            return connect_kafka(options, clock=clock)
        case PostgresBusOptions():
            return connect_postgres(options, database, clock=clock)
        case _:
            assert_never(options)
