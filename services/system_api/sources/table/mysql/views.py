"""Whether a view in MariaDB or MySQL is a selection from one table, by the plan of the server."""

from services.system_api.sources.table.mysql.connection import MysqlConnection
from services.system_api.sources.table.sql import check_view
from shared.errors import SettingsError, Unauthorized, Unavailable

_SELECT_TYPE, _TABLE = 1, 2
"""Columns of EXPLAIN."""
_HIDDEN = 1345
"""ER_VIEW_NO_EXPLAIN: https://mariadb.com/kb/en/mariadb-error-code-reference/."""


async def check_selection(connection: MysqlConnection, view: str, relation: str) -> None:
    """Check that the rows of a view are those of one table; `relation` is its name in SQL.

    Raises:
        SettingsError: they are not, or the account may not see that.
        Unavailable: the server does not answer.
    """
    try:
        plan = await connection.fetch(f"EXPLAIN SELECT * FROM {relation}")  # noqa: S608 -- the name is quoted
    except (Unauthorized, Unavailable) as exc:
        arguments = getattr(getattr(exc.__cause__, "orig", None), "args", ())
        if not isinstance(exc, Unauthorized) and arguments[:1] != (_HIDDEN,):
            raise
        raise SettingsError(
            f"overlap: the account may not see which tables the view {view} reads: GRANT SHOW VIEW ON it, and SELECT on"
            " the table, or set `overlap` to the seconds in which a row appears at most after the commit of its time"
        ) from exc
    # More than a selection is a second table, or a first step that makes its rows.
    check_view(view, selection=len(plan) == 1 and plan[0][_SELECT_TYPE] == "SIMPLE" and bool(plan[0][_TABLE]))
