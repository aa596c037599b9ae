"""A kind of bus to its implementation."""

import pytest

from services.standalone.embedded.process import free_port
from shared.bus.connect import BusOptions, connect
from shared.bus.kafka import KafkaOptions
from shared.bus.postgres import PostgresBusOptions
from shared.database.options import DatabaseOptions
from shared.errors import Unavailable

NOBODY = f"127.0.0.1:{free_port()}"


@pytest.mark.parametrize("options", [KafkaOptions(servers=NOBODY), PostgresBusOptions()])
async def test_each_kind_goes_to_its_own_server_and_says_that_nobody_is_there(options: BusOptions) -> None:
    with pytest.raises(Unavailable, match=NOBODY):
        async with connect(options, DatabaseOptions(url=f"postgresql://trelay@{NOBODY}/trelay")):
            pass
