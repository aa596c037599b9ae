"""What a table source is told; `{kind: table, url: …, table: shop.orders, key: id, changed: updated_at}` is enough."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from services.system_api.source import SourceOptions
from shared.database.options import DatabaseOptions, DatabaseTlsOptions
from shared.errors import SettingsError
from shared.settings import Secret, beside_file

_POSTGRESQL = ("postgresql://", "postgres://")
_SQLITE = "sqlite:///"


class TableSourceOptions(SourceOptions):
    """Rows of a table or a view."""

    kind: Literal["table"]
    """A table or view of PostgreSQL or SQLite."""

    url: str = Field(min_length=1, json_schema_extra={"pattern": r"^(postgres(ql)?://[^/?#]|sqlite:///[^?]+$)"})
    """`postgresql://user@host:port/database`, or `sqlite:///path/to/file` (three slashes for a path relative to the
    settings file, four for an absolute one). A password in it is moved to `password`."""

    password: Secret | None = None
    """Of the account in `url`; else the environment's PGPASSWORD."""

    tls: DatabaseTlsOptions | None = None
    """None: unencrypted, for a server on this machine or a network that is trusted."""

    table: str = Field(min_length=1, max_length=200)
    """A table or view, with its schema where it has one: `shop.orders`."""

    key: str = Field(default="id", min_length=1)
    """The column that tells rows apart. Without `changed`, rows are read in its order, so that it must be an integer
    that grows: from a sequence, or an identity column."""

    changed: str | None = Field(default=None, min_length=1)
    """A column that every insert and every update sets to the time of its transaction, as `now()` and the triggers that
    use it do. With it updates are read too, without it inserts alone. It wants an index, with `key` behind it."""

    subject: str | None = Field(default=None, min_length=1)
    """The column of the entity's key; by default `key`."""

    columns: tuple[str, ...] | None = Field(default=None, min_length=1)
    """What becomes the event's data; by default all columns."""

    time_zone: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_+/-]{1,64}$")
    """Of `changed`, where that column is without one: `UTC`, `Europe/Berlin`. By default PostgreSQL's own setting, and
    UTC on SQLite. A zone that puts its clocks back needs an `overlap` of an hour."""

    overlap: float = Field(default=0.0, ge=0, le=86_400)
    """Seconds for which a row may turn up below one that was read already.

    PostgreSQL tells which transactions are open, so that none is needed, unless `changed` is set by the clocks of
    applications: then how wrong these may be. SQLite admits one writer at a time: none is needed for `key`, and for
    `changed` how long an application may hold a value before it commits it.
    """

    early_limit: int = Field(default=10_000, ge=100, le=1_000_000)
    """How many rows may be remembered as emitted above the horizon. When a transaction stays open so long that there
    are more, only what is final is read until it has ended, and this is said."""

    row_limit: int = Field(default=1_048_576, ge=64, le=3 * 1_048_576)
    """Bytes of the largest row, as JSON; a larger one goes to the dead letter, with its first 64 KiB."""

    notify: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")
    """PostgreSQL: the channel that a trigger on the table notifies, so that a change is read at once and not after
    the interval; see docs/upstream-owners.md for the trigger."""

    @property
    def on_postgresql(self) -> bool:
        """Whether the table is PostgreSQL's; otherwise SQLite's."""
        return self.url.startswith(_POSTGRESQL)

    @property
    def path(self) -> Path:
        """Where the file of SQLite is."""
        return Path(self.url.removeprefix(_SQLITE))

    @model_validator(mode="before")
    @classmethod
    def _take_out_the_password(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not str(given.get("url")).startswith(_POSTGRESQL):
            return given
        try:
            database = DatabaseOptions(url=given["url"])
        except ValidationError as exc:
            raise ValueError(f"url: {exc.errors()[0]['msg'].removeprefix('Value error, ')}") from None
        if database.password is None:
            return given
        if given.get("password") is not None:
            raise ValueError("the password is given twice: in `url` and as `password`")
        return given | {"url": database.url, "password": database.password}

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str, info: ValidationInfo) -> str:
        if url.startswith(_POSTGRESQL):
            return url
        if url.startswith(_SQLITE) and "?" not in url and len(url) > len(_SQLITE):
            return f"{_SQLITE}{beside_file(url.removeprefix(_SQLITE), info)}"
        raise ValueError("expected postgresql://user@host/database or sqlite:///file")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.on_postgresql:
            return self
        for name in ("notify", "password", "tls"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name}: SQLite has none")
        return self


@contextmanager
def settings_errors(name: str) -> Iterator[None]:
    """Let what is wrong with the settings of a source begin with where these are."""
    place = f"system.sources.{name}"
    try:
        yield
    except SettingsError as exc:
        if str(exc).startswith(place):
            raise
        # A checkpoint is no setting.
        raise SettingsError(f"{place}{': ' if str(exc).startswith('the ') else '.'}{exc}") from exc
