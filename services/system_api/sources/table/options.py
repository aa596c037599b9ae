"""The settings of a table source; at least `{kind: table, url: …, table: shop.orders, type: order.updated}`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator, model_validator

from services.system_api.sources.source import SourceOptions
from services.system_api.sources.table.checking.databases import (
    MSSQL,
    MYSQL,
    POSTGRESQL,
    SERVERS,
    SQLITE,
    check_database,
    check_url,
    is_generic,
)
from services.system_api.sources.table.checking.modes import check_mode, check_relation
from services.system_api.sources.table.checking.query import NAME, checked_query
from services.system_api.sources.table.sql import identifiers
from services.system_api.sources.table.time_scale import TimeUnit
from shared.database.options import DatabaseOptions, DatabaseTlsOptions
from shared.errors import SettingsError
from shared.settings import EventType, FollowedSecret, Form, beside_file

_SHARE_OF_POLL = 0.8


_OF_DATABASES = ("notify", "password", "tls", "query", "time_unit", "overlap")
"""Settings that not every database has, or that some require."""
_COLUMN_SETTINGS = ("published_column", "subject")


def _table(name: str) -> str:
    identifiers(name)
    return name


_Column = Annotated[str, Field(min_length=1, max_length=200), Form(r"^[^\x00]+$", "a name without NUL characters")]


_SlotName = Annotated[str, Form(r"^[a-z0-9_]{1,63}$", "at most 63 lower-case letters, digits and '_'")]


class TableSourceOptions(SourceOptions):
    """Rows of a table or a view."""

    kind: Literal["table"]
    """A table or view of PostgreSQL, MariaDB, MySQL, SQLite, SQL Server or Oracle."""

    url: str = Field(
        min_length=1,
        json_schema_extra={"pattern": r"^((postgres(ql)?|mysql|mariadb|mssql|oracle)://[^/?#]|sqlite:///[^?]+$)"},
    )
    """`postgresql://user@host:port/database`, `mariadb://user@host:port/database` (or `mysql://…`),
    `mssql://user@host:port/database`, `oracle://user@host:port/service`, or `sqlite:///path/to/file` (three slashes for
    a path relative to the settings file, four for an absolute one). A password in the URL is moved to `password`."""

    password: FollowedSecret | None = None
    """Password of the account in `url`; by default the environment variable PGPASSWORD, or MYSQL_PWD. With PostgreSQL,
    a file is read again for each connection."""

    tls: DatabaseTlsOptions | None = None
    """TLS to the server. By default the connection is unencrypted: for this machine or a trusted network only."""

    table: Annotated[str, AfterValidator(_table)] = Field(default="", min_length=1, max_length=200)
    """A table or view, with its schema if it has one: `shop.orders`. A name with a dot is in double quotes:
    `shop."price.list"`. Required without `query`."""

    query: Annotated[str, AfterValidator(checked_query)] = Field(default="", min_length=1, max_length=100_000)
    """In place of `table`: a SELECT, whose rows are read as those of a table, in `mode: diff`, or in `mode:
    incremental` with `overlap`. Each statement of Trelay has it as a subquery."""

    mode: Literal["incremental", "diff", "outbox", "replication"] = "incremental"
    """How changes are found. `incremental` reads the rows above the last one that was read, by `updated_at_column` or
    by `key`. `diff` compares all rows of a small table again and again, and finds deletes too. `outbox` reads the rows
    that are there, and removes them once they are published. `replication` reads every insert, update and delete from
    the log of PostgreSQL, through a logical replication slot."""

    key: _Column | Annotated[tuple[_Column, ...], Field(min_length=1, max_length=16)] = "id"
    """The column that identifies a row, or several: `[order_id, line]`. Without `updated_at_column` rows are read in
    its order: then it is one column, an integer that grows, from a sequence or an identity column."""

    updated_at_column: _Column | Annotated[tuple[_Column, ...], Field(min_length=1, max_length=8)] | None = None
    """A column that every insert and every update sets to the time of its transaction, as `now()` and triggers that use
    it do. With it inserts and updates are read, without it only inserts. It needs an index, followed by `key`. Of
    several columns, `[updated_at, created_at]`, the first that is not NULL counts; they have one type."""

    time_unit: TimeUnit | None = None
    """What `updated_at_column` counts since 1970 if it is a number. Required then but in SQLite, where the size of the
    numbers tells."""

    subject: _Column | None = None
    """The column that becomes the event's subject, the entity's key; by default `key`, and the values of several
    columns are joined by commas."""

    columns: Annotated[tuple[_Column, ...], Field(min_length=1)] | None = None
    """The columns that become the event's data; by default all columns."""

    time_zone: Annotated[str, Form(r"^[A-Za-z0-9_+/-]{1,64}$", "a time zone, such as Europe/Berlin")] | None = None
    """Time zone of `updated_at_column` if that column has none: `UTC`, `Europe/Berlin`. Required if
    the column has none; UTC by default in SQLite. A date needs none: without it, a day ends when it has ended
    everywhere."""

    overlap: float = Field(default=0.0, ge=0, le=86_400)
    """Seconds during which a row may still appear below one that was read.

    0 is enough where the database tells which rows are final: PostgreSQL lists its open transactions, SQLite has one
    writer at a time. Set it if applications make the keys or the times themselves, to the longest time between an
    application taking a value and committing its row, and the largest error of these clocks.
    """

    early_limit: int = Field(default=10_000, ge=100, le=1_000_000)
    """Maximum number of rows that are remembered as emitted above the horizon. If a transaction stays open so long that
    there are more, only final rows are read until it ends, and the source is reported as degraded."""

    row_limit: int = Field(default=1_048_576, ge=64, le=3 * 1_048_576)
    """Maximum size of a row in bytes, as JSON. A larger row goes to the dead letter topic with its first 64 KiB."""

    diff_limit: int = Field(default=100_000, ge=1, le=1_000_000)
    """`mode: diff`: maximum number of rows of the table. About 500 bytes of memory are needed for each."""

    deleted_type: EventType | None = Field(default=None, min_length=1, max_length=200)
    """`mode: diff` and `replication`: the CloudEvents `type` of the event of a deleted row; by default `type` followed
    by `.deleted`."""

    published_column: _Column | None = None
    """`mode: outbox`: the column that marks a row as published, a time or a boolean. By default published rows are
    deleted."""

    slot: _SlotName | None = None
    """`mode: replication`: the logical replication slot, of this source alone; by default `trelay_` and its name."""

    publication: _Column | None = None
    """`mode: replication`: the publication of the table; by default the name of the slot."""

    create_slot: bool = False
    """`mode: replication`: create the slot and the publication if they do not exist when the source is new. `trelay
    slot drop` removes them: until then the server keeps all of its log that is not read."""

    initial_snapshot: bool = True
    """`mode: replication`: publish the rows that are in the table when the source is new."""

    slot_lag_limit: int = Field(default=1_073_741_824, ge=1_048_576)
    """`mode: replication`: bytes of log that the server may keep for the slot before the source is reported as
    degraded, with an alert."""

    notify: (
        Annotated[
            str, Form(r"^[A-Za-z_][A-Za-z0-9_]{0,62}$", "at most 63 letters, digits and '_', beginning with no digit")
        ]
        | None
    ) = None
    """PostgreSQL only: the channel that a trigger on the table notifies, so that a change is read at once and not after
    `interval`; docs/sources/tables.md has the trigger."""

    @property
    def on_postgresql(self) -> bool:
        """Whether the table is in PostgreSQL."""
        return self.url.startswith(POSTGRESQL)

    @property
    def on_mysql(self) -> bool:
        """Whether the table is in MariaDB or MySQL."""
        return self.url.startswith(MYSQL)

    @property
    def on_mssql(self) -> bool:
        """Whether the table is in SQL Server."""
        return self.url.startswith(MSSQL)

    @property
    def generic(self) -> bool:
        """Whether the database is read through SQLAlchemy alone: SQL Server and Oracle."""
        return is_generic(self.url)

    @property
    def hosts(self) -> list[str]:
        """The hosts of the server; none: it is a file."""
        if self.on_postgresql:
            return DatabaseOptions(url=self.url).hosts
        return [] if self.url.startswith(SQLITE) else [urlsplit(self.url).hostname or ""]

    @property
    def relation(self) -> str:
        """The table, or the word query, for logs and dead letters."""
        return self.table or NAME

    @property
    def described(self) -> str:
        """The table or the query, for errors."""
        return f"table {self.table}" if self.table else NAME

    @property
    def statement_timeout(self) -> float:
        """Seconds after which a statement ends: before the poll that it belongs to counts as stalled."""
        return self.poll_timeout * _SHARE_OF_POLL

    @property
    def ordered(self) -> bool:
        """Whether rows are read in an order in which they grow."""
        return self.mode == "incremental"

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of the key."""
        return (self.key,) if isinstance(self.key, str) else self.key

    @property
    def subject_name(self) -> str:
        """What becomes the event's subject, for errors."""
        return self.subject or ", ".join(self.keys)

    @property
    def times(self) -> tuple[str, ...]:
        """The columns of `updated_at_column`; empty if rows are not read by time."""
        given = self.updated_at_column
        return () if given is None else (given,) if isinstance(given, str) else given

    @property
    def order_columns(self) -> tuple[str, ...]:
        """The columns that rows are ordered by: the first of them that is not NULL."""
        return self.times or self.keys[:1]

    @property
    def named_columns(self) -> list[tuple[str, str]]:
        """Each column that a setting names, as setting and column."""
        return [
            *(("key", column) for column in self.keys),
            *(("updated_at_column", column) for column in self.times),
            *((name, column) for name in _COLUMN_SETTINGS if (column := getattr(self, name))),
            *(("columns", column) for column in self.columns or ()),
        ]

    @property
    def path(self) -> Path:
        """The path of the SQLite file."""
        return Path(self.url.removeprefix(SQLITE))

    @model_validator(mode="before")
    @classmethod
    def _move_password_out_of_url(cls, given: Any) -> Any:
        url = str(given.get("url")) if isinstance(given, dict) else ""
        scheme = next((scheme for scheme in SERVERS if url.startswith(scheme)), None)
        if scheme is None:
            return given
        try:
            # The form of an address is the same for all.
            database = DatabaseOptions(url=POSTGRESQL[0] + url.removeprefix(scheme))
        except ValidationError as exc:
            found = exc.errors()[0]["msg"].removeprefix("Value error, ").replace(POSTGRESQL[0], scheme)
            raise ValueError(f"url: {found}") from None
        if database.password is None:
            return given
        if given.get("password") is not None:
            raise ValueError("password: it is set twice, in `url` and as `password`; remove one of them")
        return given | {"url": scheme + database.url.removeprefix(POSTGRESQL[0]), "password": database.password}

    @field_validator("url")
    @classmethod
    def _known_database(cls, url: str, info: ValidationInfo) -> str:
        if url.startswith(SQLITE) and "?" not in url and len(url) > len(SQLITE):
            return f"{SQLITE}{beside_file(url.removeprefix(SQLITE), info)}"
        if not url.startswith(POSTGRESQL):
            check_url(url)
        return url

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.keys)) < len(self.keys):
            raise ValueError("key: found a column twice; expected different columns")
        if len(set(self.times)) < len(self.times):
            raise ValueError("updated_at_column: found a column twice; expected different columns")
        if self.time_unit is not None and not self.times:
            raise ValueError("time_unit: this is the unit of `updated_at_column`: remove it, or set that as well")
        if len(self.keys) > 1 and self.updated_at_column is None and self.mode == "incremental":
            raise ValueError(
                "key: found several columns, in whose order rows do not grow; set `updated_at_column`, or `mode: diff`"
            )
        check_mode(self.mode, self.model_fields_set)
        check_relation(self.mode, {"table": self.table, "query": self.query, "overlap": self.overlap})
        check_database(self.url, self.mode, {name: getattr(self, name) for name in _OF_DATABASES})
        return self


@contextmanager
def settings_errors(name: str) -> Iterator[None]:
    """Prefix every settings error of a source with the place of its settings."""
    place = f"system.sources.{name}"
    try:
        yield
    except SettingsError as exc:
        if str(exc).startswith(place):
            raise
        # An error of the checkpoint has no setting to name.
        raise SettingsError(f"{place}{': ' if str(exc).startswith('the ') else '.'}{exc}") from exc
