"""The settings of `enrich`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from services.process_api.pipeline.steps.lookup.cache import CacheOptions
from services.process_api.pipeline.steps.lookup.table import read_table
from services.process_api.pipeline.steps.step import PathText
from shared.database.options import DatabaseTlsOptions
from shared.expression.settings import ExpressionText, ValueExpressionText
from shared.http.client.options import HttpUrl, RequestOptions
from shared.settings import Options, RelativePath, Secret, beside_file, file_read
from shared.settings.url_password import move_password

_SQLITE = "sqlite:///"
_SERVERS = ("postgresql://", "postgres://", "mysql://", "mariadb://")
_KEYS = ":keys"


def _query(written: str) -> str:
    if _KEYS not in written:
        raise ValueError("found no ':keys'; expected a query such as SELECT id, name FROM customers WHERE id IN :keys")
    return written


class SqlLookup(Options):
    """A query of PostgreSQL, MariaDB, MySQL or SQLite, for all keys of a batch."""

    url: str = Field(min_length=1)
    """`postgresql://user@host:port/database`, `mariadb://user@host:port/database` (or `mysql://…`), or
    `sqlite:///path/to/file` (three slashes for a path relative to the settings file, four for an absolute one). A
    password in the URL is moved to `password`."""

    password: Secret | None = None
    """Password of the account in `url`."""

    tls: DatabaseTlsOptions | None = None
    """TLS to the server. By default the connection is unencrypted: for this machine or a trusted network only."""

    query: Annotated[str, AfterValidator(_query)]
    """One SELECT with `:keys` for the keys of the batch: `SELECT id, name FROM customers WHERE id IN :keys`. The keys
    have the types of the JSON values: convert them in `key` with `$string` or `$number` where the column has another
    type."""

    key_column: str | None = Field(default=None, min_length=1)
    """The column of the result that holds the key; by default the first one. Its value must be the text of the key: a
    query that ignores case or trailing spaces has to select the key as the event has it."""

    rows: Literal["one", "all"] = "one"
    """`one`: the value is the first row of a key, an object. `all`: an array of all its rows."""

    batch_size: int = Field(default=500, ge=1, le=10_000)
    """Keys of one query at most."""

    timeout: float = Field(default=10.0, gt=0)
    """Seconds that a query may take, the connection included."""

    pool_size: int = Field(default=2, ge=1, le=50)
    """Connections of this step on each replica."""

    row_limit: int = Field(default=100_000, ge=1)
    """Rows of one answer at most, and 64 MiB of text in them; more is an error."""

    @model_validator(mode="before")
    @classmethod
    def _move_password(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("url"), str):
            return given
        try:
            return move_password(given, urlsplit(given["url"]))
        except ValueError as exc:
            raise ValueError(f"url: {exc}") from None

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str, info: ValidationInfo) -> str:
        if url.startswith(_SQLITE) and len(url) > len(_SQLITE):
            return f"{_SQLITE}{beside_file(url.removeprefix(_SQLITE), info)}"
        if not url.startswith(_SERVERS) or not urlsplit(url).hostname or len(urlsplit(url).path) <= 1:
            raise ValueError(
                "expected postgresql://user@host:port/database, mariadb://user@host:port/database or sqlite:///file"
            )
        return url

    @property
    def sqlite_file(self) -> str | None:
        """The path of the SQLite database, None for a server."""
        return self.url.removeprefix(_SQLITE) if self.url.startswith(_SQLITE) else None


class BatchedRequest(Options):
    """How one request asks for several keys."""

    size: int = Field(default=50, ge=1, le=1000)
    """Keys of one request at most."""

    items: ValueExpressionText = "$"
    """A JSONata expression over the response that gives the array of found values."""

    key: ValueExpressionText
    """A JSONata expression over one of them that gives its key."""


class HttpLookup(RequestOptions):
    """A request for each key, or one for several keys."""

    url: HttpUrl
    """The URL, with `{key}` for the key: `https://crm.example/customers/{key}`; or, with `batch`, with `{keys}` for
    keys with commas between them. 404 means that nothing is found."""

    response: ValueExpressionText | None = None
    """A JSONata expression over the response that gives the value; undefined means that nothing is found. By default
    the whole response."""

    batch: BatchedRequest | None = None
    """How one request asks for several keys. By default each key has a request."""

    max_concurrent: int = Field(default=8, ge=1, le=100)
    """Requests at the same time, on each replica."""

    @model_validator(mode="after")
    def _has_keys(self) -> Self:
        wanted = "{keys}" if self.batch else "{key}"
        if wanted not in self.url:
            raise ValueError(f"url: found no '{wanted}'; expected it where the key belongs")
        self.network.check("url", self.url)
        return self


class FileLookup(Options):
    """A file that is read when the pipelines are loaded."""

    path: RelativePath
    """A CSV file with a header line, or a JSON file that holds an array of objects, or an object of values by key."""

    key_column: str | None = Field(default=None, min_length=1)
    """The column or the member that holds the key; by default the first one."""

    _table: Mapping[str, bytes] = PrivateAttr()

    @model_validator(mode="after")
    def _is_read(self, info: ValidationInfo) -> Self:
        self._table = read_table(file_read(self.path, info), self.key_column)
        return self

    @property
    def table(self) -> Mapping[str, bytes]:
        """The values as JSON text, by key."""
        return self._table


class EnrichSettings(Options):
    """What is looked up, and what becomes of it."""

    sql: SqlLookup | None = None
    """A query of a database. Exactly one of `sql`, `http` and `file` is set."""
    http: HttpLookup | None = None
    """A request of an HTTP API."""
    file: FileLookup | None = None
    """A static file."""

    key: ExpressionText
    """A JSONata expression over the entity that gives the key: text, a number or a boolean. Where it is undefined, null
    or empty, nothing is looked up, and `missing` applies."""

    into: PathText
    """The path at which the value is set, such as `data.customer`."""

    merge: ExpressionText | None = None
    """A JSONata expression over the value that was found, with `$event`, that gives what is set. By default the whole
    value."""

    missing: Literal["skip", "null", "dead_letter"] = "skip"
    """What happens where nothing is found: the event passes unaltered, null is set, or the event goes to the dead
    letter."""

    cache: CacheOptions = CacheOptions()
    """How long found values are kept, in the memory of each replica."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if sum(each is not None for each in (self.sql, self.http, self.file)) != 1:
            raise ValueError("expected exactly one of sql, http and file")
        return self
