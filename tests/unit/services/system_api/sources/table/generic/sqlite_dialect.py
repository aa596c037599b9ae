"""SQLite as a dialect, so that the reader and its statements run on a database; and a connection to one in memory."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Executable, String, bindparam, func, literal_column, types
from sqlalchemy.dialects import sqlite

from services.system_api.sources.table.generic.dialects import Dialect, TimeKind
from services.system_api.sources.table.generic.shape import Found

NOW = "2026-01-31 12:00:00.0000000"


def as_text(column: ColumnElement[Any], _kind: TimeKind) -> ColumnElement[str]:
    return func.trim(column)


def from_text(text: str, _kind: TimeKind) -> ColumnElement[Any]:
    return bindparam(None, text, String)


def kind_of(type_: types.TypeEngine[Any]) -> TimeKind | None:
    return ("zoned" if type_.timezone else "local") if isinstance(type_, types.DateTime) else None


SQLITE = Dialect(
    title="SQLite",
    extra="none",
    driver="sqlite",
    default_port=0,
    digits=7,
    time_kind=kind_of,
    times="a time",
    as_text=as_text,
    from_text=from_text,
    now=literal_column(f"'{NOW}'"),
    version="SELECT 1",
    unauthorized={"not authorized": "not authorized"},
)


class MemoryDatabase:
    """`Reads` of a database in memory."""

    def __init__(self, found: Found, *statements: str) -> None:
        self.database = sqlite3.connect(":memory:", check_same_thread=False)
        for statement in statements:
            self.database.execute(statement)
        self._found = found
        self.read_rows = 0

    async def found(self) -> Found:
        return self._found

    async def fetch(self, statement: Executable, timeout: float | None = None) -> Sequence[Any]:
        return await asyncio.to_thread(lambda: self._execute(statement).fetchall())

    async def read(self, statement: Executable, take: Callable[[Any], bool]) -> None:
        cursor = await asyncio.to_thread(self._execute, statement)
        while (row := await asyncio.to_thread(cursor.fetchone)) is not None:
            self.read_rows += 1
            if not take(row):
                return

    def _execute(self, statement: Any) -> sqlite3.Cursor:
        compiled = statement.compile(dialect=sqlite.dialect(), compile_kwargs={"render_postcompile": True})
        values = [compiled.params[name] for name in compiled.positiontup]
        return self.database.execute(str(compiled), values)
