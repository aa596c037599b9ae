"""How far a replica is behind its primary: rows of then may still appear on it, below rows that were read."""

import logging
from collections.abc import Mapping
from typing import Any

from services.system_api.sources.table.mysql.connection import MysqlConnection
from shared.errors import Unauthorized
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

STANDBY = "SELECT CAST(@@global.read_only AS CHAR) NOT IN ('0', 'OFF')"
"""A number, or a word in newer releases of MariaDB, which have more than two values."""
_RENAMED = (8, 4)
"""The first version of MySQL without the older statement."""
_COLUMNS = ("Seconds_Behind_Master", "Seconds_Behind_Source")
_SETTLED = 1.0
"""Seconds after its start in which replication may tell that it is not behind: it has not looked at its log yet."""
_STOPPED = "the replication of this server does not run: what its primary has written meanwhile is read when it does"


class ReplicaLag:
    """The lag of the server that one connection leads to."""

    def __init__(self, source: str, clock: Clock) -> None:
        self.problem: str | None = None
        """Why it is not known, as of the last look."""
        self._fields = {"component": "source", "source": source}
        self._opened = 0
        """Which connection was looked at; 0: none yet."""
        self._clock = clock
        self._replicates_since: float | None = None
        self._standby = False
        self._refused = False
        """Whether the account may not look."""

    async def seconds(self, connection: MysqlConnection) -> float | None:
        """Return how far the server is behind, 0 where it is no replica or does not tell; None: that is not known now.

        Raises what `MysqlConnection.fetch` raises.
        """
        if self._refused:
            return 0.0
        if connection.opened != self._opened or not self._opened:
            ((standby,),) = await connection.fetch(STANDBY)
            self._standby, self._opened = bool(standby), connection.opened
            self._replicates_since = None
        self.problem = None
        if not self._standby:
            return 0.0
        try:
            found = await connection.fetch(_status(connection))
        except Unauthorized:
            self._refused = True  # and no further look, because each refusal costs the connection
            logger.warning("cannot see how far the replica lags; overlap must be longer", extra=self._fields)
            return 0.0
        behind = [_behind(row._mapping) for row in found]  # noqa: SLF001 -- its documented name
        if None in behind:
            self.problem, self._replicates_since = _STOPPED, None
            return None
        now = self._clock.monotonic()
        if self._replicates_since is None:
            self._replicates_since = now
        if behind and now - self._replicates_since < _SETTLED:
            return None
        return max(filter(None, behind), default=0.0)


def _status(connection: MysqlConnection) -> str:
    if connection.on_mariadb:
        return "SHOW ALL SLAVES STATUS"
    return "SHOW SLAVE STATUS" if connection.version < _RENAMED else "SHOW REPLICA STATUS"


def _behind(status: Mapping[str, Any]) -> float | None:
    """Return the seconds in the status of one primary; None while it is not replicated from."""
    found = next((status[name] for name in _COLUMNS if name in status), None)
    return None if found is None else float(found)
