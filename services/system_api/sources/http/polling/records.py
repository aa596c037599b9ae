"""Selects the records of a page, and what identifies each of them. Use it only in the thread that made it. No I/O."""

from collections.abc import Callable
from hashlib import blake2b
from typing import NamedTuple, TypeVar

import msgspec

from services.system_api.sources.http.instants import Instant, instant_of
from services.system_api.sources.http.polling import unreadable
from services.system_api.sources.http.polling.options import HttpSourceOptions
from shared.errors import Malformed, TooLarge
from shared.events import strict_json
from shared.events.dead_letter import KEPT_BYTES
from shared.expression import exact
from shared.expression.document import JsonDocument
from shared.expression.expression import Expression

T = TypeVar("T")

_ARRAY, _OBJECT, _QUOTE = b'[{"'
_DIGEST_BYTES = 8
_SHOWN = 80

_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_string = msgspec.json.Decoder(str).decode
_sorted = msgspec.json.Encoder(order="sorted").encode


class Record(NamedTuple):
    """A record of a page."""

    id: str
    subject: str
    time: Instant | None
    version: str
    data: bytes
    """One JSON value."""


class Unreadable(NamedTuple):
    """A record that cannot become an event."""

    key: str
    """A digest of the record."""
    id: str | None
    """Its id, None where it has none."""
    value: bytes
    """The record; of one that is too large, its beginning."""
    place: int | None
    """Its place on the page, counted from 0; None where its place is not known any more."""
    error: str


class Page(NamedTuple):
    """What a page holds."""

    records: list[Record]
    unreadable: list[Unreadable]
    next: str | None
    """The cursor or the URL of the next page, None where the page names none."""
    more: bool | None
    """Whether another page follows; None where the settings do not say how to know."""
    cursor: str | None
    """Where the next poll continues, None where the page does not say."""


class Selector:
    """The expressions of one source, compiled."""

    def __init__(self, options: HttpSourceOptions) -> None:
        """Raises `ValueError` where an expression does not compile, which the settings have checked."""
        texts = options.expressions()
        made = {name: Expression(text) for name, text in texts.items()}
        # The body itself needs no JSONata, which takes no large number and no deep nesting.
        self._records = None if texts["records"].strip() == "$" else made["records"]
        self._id = made["id"]
        self._subject = made.get("subject")
        self._time = made.get("time")
        self._version = made.get("version")
        self._next = made.get("pagination.cursor") or made.get("pagination.url")
        self._more = made.get("pagination.more")
        self._cursor = made.get("changes.cursor")
        self._limit = options.record_limit

    def page(self, body: bytes) -> Page:
        """Read a page, which is valid JSON.

        Raises:
            Malformed: it has another shape than the settings say, or an expression fails on it.
        """
        document = JsonDocument(body)
        records: list[Record] = []
        rejected: list[Unreadable] = []
        listed = body if self._records is None else _evaluated("records", self._records, document)
        for index, data in enumerate(map(bytes, _listed(listed, body))):
            try:
                records.append(self._record(data))
            except Malformed as exc:
                rejected.append(self._unreadable(data, index, exc))
        if all(record.time is not None for record in records):
            # The API may list the newest first; events of one page are published oldest first.
            records.sort(key=_instant)
        return Page(
            records,
            rejected,
            _optional("pagination", self._next, document, _place_text),
            _optional("pagination.more", self._more, document, lambda found: found == b"true"),
            _optional("changes.cursor", self._cursor, document, _place_text),
        )

    def _record(self, data: bytes) -> Record:
        if unreadable.is_marked(data) and (fault := strict_json.fault_of(unreadable.restored(data))) is not None:
            raise Malformed(fault)
        strict_json.check(data)
        if len(data) > self._limit:
            raise TooLarge(
                f"a record of {len(data)} bytes, the limit is {self._limit}; its first {KEPT_BYTES} are kept"
            )
        document = JsonDocument(data)
        identity = _required("id", self._id, document)
        subject = identity if self._subject is None else _required("subject", self._subject, document)
        time = None if self._time is None else _optional("time", self._time, document, instant_of)
        if self._version is not None:
            version = digest(_evaluated("version", self._version, document) or b"")
        else:
            # The order of the members is no part of a version.
            version = digest(_sorted(exact.value(data)))
        return Record(identity, subject, time, version, data)

    def _unreadable(self, data: bytes, index: int, error: Malformed) -> Unreadable:
        try:
            identity = _required("id", self._id, JsonDocument(data))
        except Malformed:
            identity = None
        came = unreadable.restored(data)
        kept = came[:KEPT_BYTES] if isinstance(error, TooLarge) else came
        return Unreadable(digest(data), identity, kept, index, str(error))


def digest(text: bytes) -> str:
    """Return a short digest: two records, or versions of one, have different ones."""
    return blake2b(text, digest_size=_DIGEST_BYTES).hexdigest()


def _instant(record: Record) -> int:
    assert record.time is not None, "the caller has looked"
    return record.time.microseconds


def _evaluated(setting: str, expression: Expression, document: JsonDocument) -> bytes | None:
    try:
        return expression.value(document)
    except Malformed as exc:
        raise Malformed(f"{setting}: {exc}") from exc


def _listed(found: bytes | None, body: bytes) -> list[msgspec.Raw]:
    """Return the items of what `records` gives.

    Raises:
        Malformed: it is neither a list nor an object nor null: the body has another shape.
    """
    if found is None:
        members = f"an object with the members {_members(body)}" if body[:1] == b"{" else "no object"
        raise Malformed(
            f"records: the expression finds nothing in the body, which is {members}; expected a list. If the API leaves"
            " it out where it is empty, write $exists(items) ? items : []"
        )
    if found[0] == _ARRAY:
        return _items(found)
    if found[0] == _OBJECT:
        return [msgspec.Raw(found)]
    if found == b"null":
        return []
    raise Malformed(f"records: the expression gives {_shown(found)}; expected a list")


def _members(body: bytes) -> str:
    names = list(msgspec.json.decode(body, type=dict[str, msgspec.Raw]))
    return ", ".join(name[:_SHOWN] for name in names[:10]) or "(none)"


def _required(setting: str, expression: Expression, document: JsonDocument) -> str:
    found = _evaluated(setting, expression, document)
    text = None if found is None else _text(setting, found)
    if not text:
        raise Malformed(f"{setting}: the expression gives nothing; expected a text or a number")
    return text


def _text(setting: str, found: bytes) -> str | None:
    """Return a text or a number as text, None for null."""
    if found[0] == _QUOTE:
        return _string(found)
    if found[:1].isdigit() or found[:1] == b"-":
        return found.decode()
    if found == b"null":
        return None
    raise Malformed(f"{setting}: the expression gives {_shown(found)}; expected a text or a number")


def _place_text(found: bytes) -> str | None:
    """Return a cursor or a URL; None for null, false and the empty text, with which APIs mark the end."""
    return None if found in {b"null", b"false", b'""'} else _text("it", found)


def _optional(
    setting: str, expression: Expression | None, document: JsonDocument, read: Callable[[bytes], T | None]
) -> T | None:
    found = None if expression is None else _evaluated(setting, expression, document)
    if found is None:
        return None
    try:
        return read(found)
    except Malformed as exc:
        raise Malformed(f"{setting}: {str(exc).removeprefix('it: ')}") from exc


def _shown(found: bytes) -> str:
    return f"{found[:_SHOWN].decode(errors='replace')}{'…' if len(found) > _SHOWN else ''}"
