"""The settings that pick events from what a sender or a stream sends."""

from pydantic import Field

from shared.expression.settings import ValueExpressionText
from shared.http.client.options import HeaderName
from shared.settings import Options

MEGABYTE = 1_048_576


class HeaderValue(Options):
    """A header of the request."""

    header: HeaderName
    """The name of the header, such as `X-GitHub-Delivery`."""


class TypeHeader(Options):
    """A header of the request that tells the type of its events."""

    header: HeaderName
    """The name of the header, such as `X-GitHub-Event`."""
    prefix: str = Field(default="", max_length=100)
    """What the type begins with, such as `github.`."""


class ReceivedOptions(Options):
    """The settings that pick events from a body."""

    records: ValueExpressionText = "$"
    """JSONata over the body: the records, each of which becomes an event, such as `events`. A list gives one event for
    each of its items, another value one event, and null or nothing none."""

    id: ValueExpressionText | None = None
    """JSONata over a record: what identifies the change, a text or a number. By default the id of the delivery or of
    the message, and in a list the number of the item after it."""

    subject: HeaderValue | ValueExpressionText | None = None
    """The event's subject, the entity's key: JSONata over a record, or `{header: name}`; by default the name of the
    source, which keeps all events in the order in which they arrived."""

    time: ValueExpressionText | None = None
    """JSONata over a record: when the change happened. A text in RFC 3339 with its offset, or a number of seconds since
    1970. By default the time when it arrived."""

    type_from: TypeHeader | ValueExpressionText | None = None
    """What tells the CloudEvents `type` of an event, where one endpoint gets several: `{header: X-GitHub-Event, prefix:
    github.}`, or JSONata over a record. Where it gives nothing, the type is `type`."""

    form_field: str = Field(default="payload", min_length=1)
    """The field of a form (`application/x-www-form-urlencoded`) that holds the JSON. A form without it becomes an
    object of its fields."""

    record_limit: int = Field(default=MEGABYTE, ge=64, le=3 * MEGABYTE)
    """Maximum size of a record in bytes, as JSON. A larger one goes to the dead letter topic with its first 64 KiB."""

    def picking(self) -> dict[str, str]:
        """Return the JSONata of these settings, by setting."""
        found = {name: getattr(self, name) for name in ("records", "id", "subject", "time", "type_from")}
        return {name: text for name, text in found.items() if isinstance(text, str)}

    def kept_headers(self) -> tuple[str, ...]:
        """Return the headers that must be kept with a body, beside its content type."""
        named = (self.subject, self.type_from)
        return tuple(each.header for each in named if isinstance(each, HeaderValue | TypeHeader))
