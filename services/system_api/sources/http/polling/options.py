"""The settings of the kind `http`; at least `{kind: http, url: https://…, type: order.updated, id: id}`."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from services.system_api.sources.source import SourceOptions
from shared.expression.settings import ValueExpressionText
from shared.http.client.options import HttpUrl, RequestOptions
from shared.settings import EventType, Form, Options

TimeFormat = Literal["rfc3339", "unix", "unix_ms", "date"]
"""How a time is written in a query: `2026-03-01T12:00:00Z`, seconds or milliseconds since 1970, or `2026-03-01`."""


NOW = "now"
_START = Form(
    r"^(now|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2}))$",
    "now, or a time with its offset, such as 2026-01-31T12:00:00Z",
)


def _existing_time(written: str) -> str:
    if written != NOW:
        try:
            datetime.fromisoformat(written)
        except ValueError as exc:
            raise ValueError(f"found {written!r}, which is not in the calendar: {exc}") from exc
    return written


class PageOptions(Options):
    """Numbered pages: `?page=2`."""

    kind: Literal["page"]
    """Numbered pages."""
    parameter: str = Field(default="page", min_length=1)
    """The query parameter with the number."""
    first: int = Field(default=1, ge=0)
    """The number of the first page."""
    more: ValueExpressionText | None = None
    """JSONata over a page: whether another page follows, such as `page < total_pages`. Without it pages are requested
    until one is empty."""
    reread: bool = True
    """Whether each page is read again after the next one, because records move to the page before when others are
    deleted or updated. Turn it off only where the order of the API never changes."""


class OffsetOptions(Options):
    """Pages by the number of records before them: `?offset=200`."""

    kind: Literal["offset"]
    """Pages by offset."""
    parameter: str = Field(default="offset", min_length=1)
    """The query parameter with the number of records to skip."""
    overlap: int = Field(default=10, ge=0)
    """Records of a page that the next page repeats, to recognise records that have moved. 0 only where the order of the
    API never changes."""
    more: ValueExpressionText | None = None
    """As for numbered pages."""


class LinkOptions(Options):
    """The header `Link` with `rel="next"` (RFC 8288), as GitHub and GitLab send it."""

    kind: Literal["link"]
    """The header `Link`."""
    reread: bool = True
    """As for numbered pages, which such links often lead to. Turn it off where the links hold a cursor."""


class NextUrlOptions(Options):
    """The URL of the next page is in the body."""

    kind: Literal["next"]
    """A URL in the body."""
    url: ValueExpressionText
    """JSONata over a page: the URL of the next page, such as `links.next`; undefined, null or empty on the last one."""
    reread: bool = False
    """As for numbered pages; needed where the URL holds a page number or an offset."""


class CursorOptions(Options):
    """A cursor in the body is a query parameter of the next request."""

    kind: Literal["cursor"]
    """A cursor in the body."""
    cursor: ValueExpressionText
    """JSONata over a page: the cursor of the next page, such as `meta.next_cursor`; undefined, null, false or empty on
    the last one."""
    parameter: str = Field(default="cursor", min_length=1)
    """The query parameter with the cursor."""


PaginationOptions = Annotated[
    PageOptions | OffsetOptions | LinkOptions | NextUrlOptions | CursorOptions, Field(discriminator="kind")
]
"""How the next page is found."""


class ByTimeOptions(Options):
    """Records have the time of their last change: read those since the greatest time seen."""

    kind: Literal["time"]
    """By the time of the last change."""
    parameter: str | None = Field(default=None, min_length=1)
    """The query parameter that selects records changed since a time, such as `updated_since`. Without one the whole
    list is read at each poll."""
    format: TimeFormat = "rfc3339"
    """How the parameter is written."""
    overlap: float = Field(default=300.0, ge=0)
    """Seconds before the greatest time seen that each poll reads again: longer than any record takes to appear in the
    list, and than the clocks of the API's servers differ."""
    start: Annotated[str, _START, AfterValidator(_existing_time)] | None = None
    """Where to begin: a time with its offset, or `now`; by default with the oldest record."""
    ascending: bool = False
    """Whether the API lists records by time, oldest first. Then a first load of any size needs little memory, and is
    resumed where it was interrupted. Records in another order are an error."""
    window_limit: int = Field(default=200_000, ge=1000, le=5_000_000)
    """Maximum number of records that are remembered as published: those of the overlap and, unless `ascending`, of the
    poll in progress."""

    @property
    def start_time(self) -> datetime | None:
        """The time to begin at; None for `now` and for the oldest record."""
        return None if self.start in {None, NOW} else datetime.fromisoformat(str(self.start))


class BySnapshotOptions(Options):
    """The whole list is read at each poll and compared with the last one: finds inserts, updates and deletes."""

    kind: Literal["snapshot"]
    """By comparison with the last poll."""
    deletes: bool = True
    """Whether a record that is no longer listed becomes an event. Turn it off for a list of the newest records."""
    deleted_type: EventType | None = Field(default=None, min_length=1, max_length=200)
    """The CloudEvents `type` of that event; by default `type` followed by `.deleted`. Its data is `{"id": …}`."""
    confirm_deletes: int = Field(default=2, ge=1, le=100)
    """Polls in succession that must not list a record before it counts as deleted."""
    allow_empty: bool = False
    """Whether an empty list deletes all records. Otherwise it is reported as a problem, and deletes none."""
    limit: int = Field(default=200_000, ge=1, le=5_000_000)
    """Maximum number of records in the list."""


class ByCursorOptions(Options):
    """The API gives a cursor for the changes after this page, which stays valid: a change log, a delta link.

    `id` should identify the change, and `subject` the entity. Where both are the same, an event's id holds a digest of
    the version as well. Where `id` is that of the entity, as with delta links, a record with a known id is another
    change if its `version` differs.
    """

    kind: Literal["cursor"]
    """By a cursor of the API."""
    cursor: ValueExpressionText
    """JSONata over a page: where the next poll continues, such as `next_sync_token`, or `items[-1].id`. A page where it
    is undefined, null or empty does not move it."""
    parameter: str | None = Field(default=None, min_length=1)
    """The query parameter with the cursor. Without one, the cursor is the URL of the next request."""
    start: str | None = Field(default=None, min_length=1)
    """The first cursor; by default the first request has none."""
    on_expired: Literal["stop", "restart"] = "stop"
    """What happens when the API knows the cursor no longer (410 Gone, or an error that names it). `stop`: the source is
    down, until an operator rewinds it. `restart`: it begins again as it was started first, and names what may be lost
    in between; what it knows of the last records is not published again."""
    window: int = Field(default=1000, ge=0, le=100_000)
    """Number of ids that are remembered, each with its version, for an API that repeats the last records after a
    cursor."""


ChangesOptions = Annotated[ByTimeOptions | BySnapshotOptions | ByCursorOptions, Field(discriminator="kind")]
"""How new and changed records are recognised."""


class HttpSourceOptions(SourceOptions, RequestOptions):
    """An API that is polled with GET."""

    kind: Literal["http"]
    """An HTTP API that is polled."""

    url: HttpUrl
    """The URL of the list, with the parameters that every request has, such as `?per_page=100`."""

    interval: float = Field(default=60.0, gt=0)
    """Seconds between polls. `ETag` and `Last-Modified` make a poll without changes cheap."""

    format: Literal["json", "ndjson", "csv", "xml"] | None = None
    """The format of the body; by default its `Content-Type` decides. Lines of JSON (`ndjson`) are a list. A CSV row is
    an object of its columns, and an XML element an object of its children, its attributes (`@name`) and its text
    (`#text`)."""

    delimiter: str = Field(default=",", min_length=1, max_length=1)
    """The character between the fields of CSV."""

    records: ValueExpressionText = "$"
    """JSONata over the body: the list of records, such as `items`. It must give a list, an object (one record) or null
    (none); anything else is an error."""

    id: ValueExpressionText
    """JSONata over a record: what identifies it, a text or a number."""

    subject: ValueExpressionText | None = None
    """JSONata over a record: the event's subject, the entity's key; by default `id`."""

    time: ValueExpressionText | None = None
    """JSONata over a record: the time of its last change. A text in RFC 3339 with its offset, or a number of seconds
    since 1970; `$fromMillis(updated)` reads milliseconds. By default the event has the time of reading."""

    version: ValueExpressionText | None = None
    """JSONata over a record: what changes with every change of it, such as `revision`. By default the whole record,
    which is wrong where a part of it differs in each response."""

    pagination: PaginationOptions | None = None
    """How the next page is found; by default there is one page."""

    max_pages: int = Field(default=10_000, ge=1)
    """Maximum number of pages of one poll; more are an error."""

    changes: ChangesOptions = BySnapshotOptions(kind="snapshot")
    """How new and changed records are recognised; by default by comparison with the last poll."""

    record_limit: int = Field(default=1_048_576, ge=64, le=3 * 1_048_576)
    """Maximum size of a record in bytes, as JSON. A larger one goes to the dead letter topic with its first 64 KiB."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self.network.check("url", self.url)
        if isinstance(self.changes, ByTimeOptions) and self.time is None:
            raise ValueError("time: required with changes.kind: time; name the time of a record's last change")
        if self.timeout > self.poll_timeout / 2:
            raise ValueError(
                f"timeout: found {self.timeout:g}; expected at most half of poll_timeout ({self.poll_timeout:g}),"
                " because a poll may need a token and a redirect as well"
            )
        return self

    def expressions(self) -> dict[str, str]:
        """Return the JSONata of these settings, by setting."""
        found = {name: getattr(self, name) for name in ("records", "id", "subject", "time", "version")}
        pagination, changes = self.pagination, self.changes
        found |= {f"pagination.{name}": getattr(pagination, name, None) for name in ("more", "cursor")}
        found["pagination.url"] = pagination.url if isinstance(pagination, NextUrlOptions) else None
        found["changes.cursor"] = changes.cursor if isinstance(changes, ByCursorOptions) else None
        return {name: text for name, text in found.items() if text is not None}
