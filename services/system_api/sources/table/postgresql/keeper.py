"""Keeps a session with a table's database: opens it when it is needed, and again after any failure."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from services.system_api.sources.table.options import TableSourceOptions, settings_errors
from services.system_api.sources.table.postgresql.connection import database_of, table_errors
from services.system_api.sources.table.postgresql.session import Session, open_session
from shared.database.spans import trace_statements
from shared.errors import SettingsError

logger = logging.getLogger(__name__)


class SessionKeeper:
    """The session of one source."""

    def __init__(self, name: str, options: TableSourceOptions, on_notify: Callable[[], None]) -> None:
        """`on_notify` is called when a trigger has notified."""
        self.options = options
        self.place = f"{database_of(options).address}, {options.described}"
        self.current: Session | None = None
        self._name = name
        self._on_notify = on_notify
        self._order_type: str | None = None

    def close(self) -> None:
        """Close the connection without waiting: one that hangs must not block the poller."""
        if self.current is not None:
            self.current.connection.terminate()
            self.current = None

    def reopen(self) -> None:
        """Close the connection because the definition of the table has changed."""
        extra = {"component": "source", "source": self._name, "table": self.options.relation}
        logger.info("table has changed; reading its definition again", extra=extra)
        self.close()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Translate errors of what is done with the session, and close it after any.

        Raises:
            Unavailable: the server is unavailable; Unauthorized: it refuses the account.
            SettingsError: the table cannot be read with the settings.
        """
        try:
            with settings_errors(self._name), table_errors(self.place):
                yield
        except BaseException:
            # A partial response, a failover, a replaced table: no state of the connection is valid any more.
            self.close()
            raise

    async def session(self) -> Session:
        """Return the session; open it if there is none. To be called within `errors`."""
        if self.current is None:
            session = await open_session(self.options, self._name, self._on_notify)
            shape = session.shape
            if self._order_type not in {None, shape.order_type}:
                session.connection.terminate()
                raise SettingsError(
                    f"table: the type of column {shape.order_column!r} has changed to {shape.order_type};"
                    " give the source another name to start from the beginning"
                )
            self._order_type = shape.order_type
            self.current = session
        trace_statements(self.current.connection)
        return self.current
