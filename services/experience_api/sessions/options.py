"""How the one connection of each client is held, as the settings say."""

from typing import Annotated

from pydantic import Field

from shared.settings import Form, Options


class ConnectionsOptions(Options):
    """How the one connection of each client is held."""

    node: Annotated[str, Form(r"^[A-Za-z0-9._-]{1,100}$", "1 to 100 letters, digits, '.', '_' and '-'")] | None = None
    """The unique name of this replica. None generates one from the host's name and random digits."""

    lease_seconds: float = Field(default=30.0, ge=1)
    """Seconds that a replica may be unable to reach the database before others may claim its connections without
    asking it. It keeps them nevertheless, and closes those that another replica has claimed. The clients of a dead
    replica need not wait that long: they displace a connection that does not answer."""

    probe_timeout: float = Field(default=1.5, gt=0, le=8)
    """Seconds that a connection has to answer a ping when another connection of its client arrives."""

    revocation_interval: float = Field(default=1.0, gt=0, le=60)
    """Seconds between two looks into the database for connections of this replica that were revoked. Notifications
    arrive within milliseconds; this finds what they miss, such as behind a pool that does not support LISTEN."""

    reconcile_interval: float = Field(default=60.0, gt=0)
    """Seconds between two comparisons of the connections here with the claims in the database."""
