"""The log of one table: its slot, and the changes after a place."""

import logging
from dataclasses import dataclass, replace

import asyncpg

from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.postgresql.connection import connect, database_of
from services.system_api.sources.table.postgresql.keeper import SessionKeeper
from services.system_api.sources.table.postgresql.replication import slot as slots
from services.system_api.sources.table.postgresql.replication.cursor import ChangeCursor, Message
from services.system_api.sources.table.postgresql.replication.encoding import UTF8, Encoding
from services.system_api.sources.table.postgresql.replication.slot import Published, Slot, Status
from services.system_api.sources.table.postgresql.replication.transactions import (
    Change,
    Diverged,
    LastChange,
    Place,
    Transactions,
)
from services.system_api.sources.table.postgresql.session import Session
from services.system_api.sources.table.sql import quoted, quoted_table
from shared.errors import SettingsError, Unavailable
from shared.runtime.clock import Clock

logger = logging.getLogger(__name__)

_MAX_BYTES = 16 * 1_048_576
"""Approximate maximum size of the messages of one poll."""
_CHECK_INTERVAL = 5.0
"""Seconds between two looks at the publication and the replica identity."""
_ADVANCE_INTERVAL = 1.0
"""Seconds between two times that the slot is moved: the server reads the log once more for it."""
_ADVANCE_SHARE = 10
"""The same, as a multiple of what the last time took: with a transaction that stays open, it begins there each time."""
_NAME = """
    SELECT n.nspname, c.relname, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = to_regclass($1)
"""


def slot_of(name: str, options: TableSourceOptions) -> Slot:
    """Return the slot of the source of this name."""
    default = "trelay_" + "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name.lower())
    slot = options.slot or default[:63]
    return Slot(slot, options.publication or slot)


@dataclass(slots=True)
class Read:
    """What one call has read."""

    changes: list[Change]
    reached: Place
    complete: bool
    """Whether the end of the log was reached, as it was when the reading of it began."""
    stopped_early: bool
    """Whether the server decoded a part of the log only: the slot must move before it decodes what follows."""
    encoding: Encoding
    """Of the texts of values."""


class TableLog:
    """Reads the log. Any failure of it leaves the next call to begin again behind the place that it gives."""

    def __init__(self, name: str, keeper: SessionKeeper, clock: Clock) -> None:
        self._name = name
        self.slot = slot_of(name, keeper.options)
        self.status: Status | None = None
        """As it was found last."""
        self.published = Published()
        """What the log has of the table, as it was found last."""
        self._keeper = keeper
        self._options = keeper.options
        self._clock = clock
        self._cursor = ChangeCursor(name, keeper.options, self.slot)
        self._transactions = Transactions("", "")
        self._encoding = UTF8
        """Of what is read: that of the database where the server has found text that UTF-8 does not have."""
        self._seen = 0
        """The end of what these connections have read of the log: where they lead to another server, its log may differ
        from where on that is not known."""
        self._began = Place(0, 0)
        """The place after which the cursor was opened."""
        self._check_at = 0.0
        self._advance_at = 0.0
        self._advance_began = 0.0
        self._advance_to = 0

    @property
    def reading(self) -> bool:
        """Whether a part of the log is being read."""
        return self._cursor.upto is not None

    @property
    def cut(self) -> int:
        """The size of a message above which only its beginning is read."""
        return self._cursor.cut

    async def open(self, *, new: bool) -> str:
        """Check the server, the slot and the table; return what identifies the server. To be called within `errors`.

        Raises:
            SettingsError: changes cannot be read.
        """
        session = await self._keeper.session()
        system = await slots.system_of(session.connection)
        await self._check_identity(session)
        if new and self._options.create_slot:
            await self._create(session)
        await self._check_published(session)
        _, _, oid = await self._named(session)
        if await slots.restricted(session.connection, oid):
            fields = {"component": "source", "source": self._name, "table": self._options.table}
            suggestion = f"a publication with WHERE: ALTER PUBLICATION {quoted(self.slot.publication)} SET TABLE …"
            logger.warning(
                "row-level security applies to the snapshot and not to the log; all changes are published",
                extra=fields | {"suggestion": suggestion},
            )
        return system

    async def look(self) -> Status:
        """Return the state of the slot, and check what may have changed. To be called within `errors`."""
        session = await self._keeper.session()
        if self._clock.monotonic() >= self._check_at:
            await self._check_identity(session)
            await self._check_published(session)
        found = await slots.status_of(session.connection, self.slot)
        if found is None:
            raise SettingsError(
                f"slot: there is no slot {self.slot.name!r}: set `create_slot: true`, or run SELECT"
                f" pg_create_logical_replication_slot('{self.slot.name}', 'pgoutput'). If there was one, the changes"
                " since then are missing: create it again, and rewind the source to the beginning"
            )
        self.status = found
        return found

    async def advance(self, place: Place, status: Status, patience: float) -> bool:
        """Let the server remove log that is published; return False while it does. To be called within `errors`."""
        now = self._clock.monotonic()
        lsn = min(place.lsn, self._seen)
        if not self._cursor.moving:
            if lsn <= status.confirmed or now < self._advance_at or self.reading:
                return True
            self._advance_began, self._advance_to = now, lsn
        try:
            done = await self._cursor.advance(self._advance_to, patience)
        except asyncpg.ObjectInUseError as exc:
            raise Unavailable(f"{self._keeper.place}: {exc.args[0]}") from exc
        now = self._clock.monotonic()
        self._advance_at = now + max(_ADVANCE_INTERVAL, _ADVANCE_SHARE * (now - self._advance_began))
        if done:
            self.status = replace(status, confirmed=max(status.confirmed, self._advance_to))
        return done

    async def read(self, place: Place, last: LastChange | None, limit: int, patience: float) -> Read | None:
        """Return the changes after a place, about `limit` of them; None: the server still decodes.

        The first call begins to read the log up to its end as of the last look, and the following ones continue.
        `last` is the last change that was returned. To be called within `errors`.

        Raises:
            SettingsError: the log lacks `last`.
        """
        if not self.reading:
            await self._begin(place, last)
        try:
            return await self._read(place, place if last is None else last.place, limit, patience)
        except Diverged:
            # Unless the slot has moved over it since the last look, as a connection before this one asked for.
            status = await self.look()
            self.close()
            if last is None or last.lsn < status.confirmed:
                return None
            raise SettingsError(
                f"slot: the log of the server lacks transaction {last.xid}, whose changes were published: the server"
                " has lost it, as by a failover to a standby that was behind, or by a backup that was restored; rewind"
                " the source to the beginning, for a new snapshot"
            ) from None

    async def _begin(self, place: Place, last: LastChange | None) -> None:
        status = self.status or await self.look()
        schema, name, _ = await self._named(await self._keeper.session())
        expected = None if last is None or last.lsn < status.confirmed else last
        self._transactions = Transactions(schema, name, self._encoding.codec, expected)
        await self._cursor.open(status.flushed, raw=self._encoding.raw)
        self._began = place

    async def _read(self, place: Place, after: Place, limit: int, patience: float) -> Read | None:
        """Return the changes after `after`: between that and `place` there are some in another history only."""
        changes: list[Change] = []
        encoding = self._encoding
        end, size = Place(self._cursor.upto or 0, 0), 0
        found: tuple[list[Message], bool] | None = None
        complete = False
        while len(changes) < limit and size < _MAX_BYTES and not complete:
            found = await self._next(limit, _MAX_BYTES - size, 0.0 if changes else patience)
            if found is None:
                break
            messages, complete = found
            for message in messages:
                size += len(message.data)
                change = self._transactions.feed(message.data, message.size)
                if change is not None and change.place > after:
                    changes.append(change)
        if found is None and not changes:
            return None
        stopped_early = complete and self._cursor.stopped_early
        at_end = complete and not stopped_early
        if at_end:
            self._transactions.check_expected()
        reached = max(place, self._transactions.reached or place, end if at_end else place)
        self._seen = max(self._seen, (self._transactions.reached or Place(0, 0)).lsn, end.lsn if at_end else 0)
        if stopped_early:
            self._advance_at = self._clock.monotonic()
        if complete:
            # Where the slot has not moved, the server decodes from the same place again.
            self._cursor.widen(more=stopped_early and reached == self._began)
            self._encoding = UTF8
        return Read(changes, reached, at_end, stopped_early, encoding)

    async def _next(self, limit: int, max_bytes: int, patience: float) -> tuple[list[Message], bool] | None:
        """Return the next messages, as the cursor does; None as well if all of them are to be read again."""
        try:
            return await self._cursor.next(limit, max_bytes, patience)
        except asyncpg.ObjectInUseError as exc:
            raise Unavailable(f"{self._keeper.place}: {exc.args[0]}") from exc
        except (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError):
            # The server would never get past it. It reads all of it again, and each row is converted on its own.
            if not await self._begin_raw():
                raise
            return None

    async def _begin_raw(self) -> bool:
        """Let the next call begin again, in the encoding of the database; return whether that can help."""
        session = await self._keeper.session()
        encoding = Encoding.of(session.connection.get_settings().server_encoding)
        if self._encoding.raw or encoding is None:
            return False
        self.close()
        self._encoding = encoding
        return True

    def close(self) -> None:
        """Stop reading, without waiting for the server."""
        self._cursor.close()
        self._seen = 0

    async def _check_identity(self, session: Session) -> None:
        needed = [("key", column) for column in self._options.keys]
        if self._options.subject is not None:
            needed.append(("subject", self._options.subject))
        _, _, oid = await self._named(session)
        await slots.check_identity(session.connection, session.shape.relation, oid, needed)

    async def _check_published(self, session: Session) -> None:
        _, _, oid = await self._named(session)
        self.published = await slots.check_published(session.connection, self.slot, session.shape.relation, oid)
        self._check_at = self._clock.monotonic() + _CHECK_INTERVAL

    async def _named(self, session: Session) -> tuple[str, str, int]:
        """Return schema, name and oid of the table."""
        found = await session.connection.fetchrow(_NAME, quoted_table(self._options.table))
        if found is None:
            raise Unavailable(f"{self._keeper.place}: the table does not exist")
        schema, name, oid = found
        return schema, name, oid

    async def _create(self, session: Session) -> None:
        connection = await connect(database_of(self._options), f"{self.slot.name} creation", writable=True)
        try:
            await slots.create(connection, self.slot, session.shape.relation)
        finally:
            connection.terminate()
