"""How much of the database the bus uses."""

from typing import Literal

from pydantic import Field

from shared.bus.topics import TopicsOptions
from shared.settings import Options


class PostgresBusOptions(Options):
    """The bus in the database of the section `database`."""

    kind: Literal["postgres"] = "postgres"
    """The bus in the database of the section `database`."""

    topics: TopicsOptions = TopicsOptions()
    """The topics of this deployment."""

    writing_connections: int = Field(default=4, ge=1, le=100)
    """Connections of one process that write transactions; further transactions wait for one."""

    reading_connections: int = Field(default=3, ge=1, le=100)
    """Connections of one process that read records. A process opens four more for topics, groups, leases and
    notifications."""

    retention_check_interval: float = Field(default=30.0, gt=0)
    """Seconds between two checks for records that are past their retention; one of all replicas deletes them."""
