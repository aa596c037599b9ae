"""How much of the database the bus may take."""

from typing import Literal

from pydantic import Field

from shared.bus.topics import TopicsOptions
from shared.settings import Options


class PostgresBusOptions(Options):
    """The bus in the database that holds the registrations; see `database`."""

    kind: Literal["postgres"] = "postgres"
    """The bus in the database of the section `database`."""

    topics: TopicsOptions = TopicsOptions()
    """The topics of this deployment."""

    writing_connections: int = Field(default=4, ge=1, le=100)
    """Transactions of one process that are written at once; further ones wait for their turn."""

    reading_connections: int = Field(default=3, ge=1, le=100)
    """Queries of one process that are answered at once. Beside these it opens one connection for notifications and two
    for groups and leases."""

    sweep_seconds: float = Field(default=30.0, gt=0)
    """How often one of all replicas looks for records that are past their retention, and deletes them."""
