"""A table in MariaDB or MySQL: its connection, and its shape, which is read again when its definition changes."""

import logging
from collections.abc import Sequence

from services.system_api.sources.table.mysql import statements
from services.system_api.sources.table.mysql.connection import MysqlConnection
from services.system_api.sources.table.mysql.shape import MysqlShape, mysql_shape_of
from services.system_api.sources.table.mysql.values import Encoder
from services.system_api.sources.table.null_key_rows import LIMIT, NullKeyRow
from services.system_api.sources.table.options import TableSourceOptions, settings_errors
from services.system_api.sources.table.sql import identifiers
from shared.errors import SettingsError, Unavailable

logger = logging.getLogger(__name__)

_NEXT_KEY = "SELECT auto_increment FROM information_schema.tables WHERE table_schema = %s AND table_name = %s"
_CHECK_INTERVAL = 5.0
"""Seconds between two looks at the definition; also after any failure."""


class MysqlTable:
    """The table of one source."""

    def __init__(self, name: str, options: TableSourceOptions) -> None:
        self.options = options
        self.connection = MysqlConnection(name, options)
        self.name = name
        self._shape: MysqlShape | None = None
        self._check_at = 0.0
        self._opened = 0

    async def shape(self, now: float) -> MysqlShape:
        """Return the shape; `now` is in seconds of a monotonic clock.

        Raises:
            Unavailable: the server does not answer, or the table is not there any more.
            SettingsError: the table cannot be read with the settings.
        """
        if self._shape is not None and now < self._check_at and self.connection.opened == self._opened:
            return self._shape
        with settings_errors(self.name):
            try:
                found = await mysql_shape_of(self.connection, self.options)
            except SettingsError as exc:
                if self._shape is not None and "there is no table" in str(exc):
                    raise Unavailable(f"{self.connection.place}: the table does not exist") from exc
                raise
            before = self._shape
            if before is not None and before.mode != found.mode:
                raise SettingsError(
                    f"table: the definition of column {found.order_name!r} has changed;"
                    " give the source another name to start from the beginning"
                )
        if before is not None and before.definition != found.definition:
            extra = {"component": "source", "source": self.name, "table": self.options.relation}
            logger.info("table has changed; reading its definition again", extra=extra)
        self._shape, self._check_at, self._opened = found, now + _CHECK_INTERVAL, self.connection.opened
        return found

    async def next_key(self) -> int | None:
        """Return the next key that the server assigns; None if it assigns none.

        Raises:
            Unavailable: the server does not answer.
        """
        shape = self._shape
        if shape is None or shape.times or not shape.order.auto_increment:
            return None
        *schemas, name = identifiers(self.options.table)
        place = (schemas[0] if schemas else self.connection.database, name)
        found = await self.connection.fetch(_NEXT_KEY, place)
        return int(found[0][0]) if found and found[0][0] else None

    async def null_key_rows(self, timeout: float) -> Sequence[NullKeyRow]:
        """Return rows without a key or order value; see `TableReader`."""
        shape = self._shape
        if shape is None or not statements.may_have_null_keys(shape):
            return ()
        encoder = Encoder(shape.columns)
        statement, arguments = statements.null_key_rows(shape, LIMIT + 1)
        found = []
        for missing, digest, *values in await self.connection.fetch(statement, arguments, timeout):
            data, _ = encoder.encoded(values)
            column = shape.keys[missing].name if missing >= 0 else shape.order_name
            found.append(NullKeyRow(f"{digest}", data, f"column {column!r} is NULL"))
        return found
