"""What decides which records are new or changed."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from services.system_api.sources.http.polling.records import Record


class Deletion(NamedTuple):
    """A record that is no longer listed."""

    id: str
    subject: str
    position: str
    """The position of its event."""


class Changes(Protocol):
    """What has been published of one source. Nothing of it is lost by a crash: `saved` goes into each checkpoint."""

    @property
    def problem(self) -> str | None:
        """What is wrong with the list, None if nothing."""
        ...

    @property
    def more(self) -> bool:
        """Whether the next poll should follow at once."""
        ...

    def query(self) -> dict[str, str]:
        """Return the query parameters of a poll."""
        ...

    @property
    def url(self) -> str | None:
        """Return the URL of the first request of a poll, None for that of the settings."""
        ...

    @property
    def cursor(self) -> str | None:
        """Return the cursor that the first request of a poll has, None where it has none."""
        ...

    def begin_again(self) -> bool:
        """Begin where a source begins that is started first; return False where the settings do not want that."""
        ...

    def note_time(self, sent: float | None) -> bool:
        """Note when the API has sent a page, by its own clock (seconds since 1970; None: it does not say).

        Return whether the source starts at another time because of that: the page is to be requested again.
        """
        ...

    def begin_page(self, records: Sequence[Record]) -> None:
        """Note that a page follows those before it, with these records that the page before does not have.

        Raises:
            TrelayError: the order of the pages is not as the settings say.
        """
        ...

    def take(self, record: Record) -> str | None:
        """Return the position of the record's event and note it as published; None if it was published before.

        Raises:
            Malformed: the record cannot become an event.
            TrelayError: the settings do not fit the API.
        """
        ...

    def listed(self, ids: Iterable[str]) -> None:
        """Note that the list still has these records, unchanged."""
        ...

    def page_read(self, cursor: str | None) -> None:
        """Note that all records of a page are taken; `cursor` is where the page says that the next poll continues."""
        ...

    def pages_moved(self) -> None:
        """Note that records may have been missed, and that all pages will be read again."""
        ...

    def finish(self, *, complete: bool) -> None:
        """Note that all pages are read; `complete` if each record that they list has an id."""
        ...

    def deletions(self, limit: int) -> list[Deletion]:
        """Return at most `limit` records that count as deleted, and note them as published."""
        ...

    def checkpoint(self) -> dict[str, bytes]:
        """Return all parts of the checkpoint."""
        ...

    def checkpoint_at(self, place: Literal["beginning"] | datetime) -> dict[str, bytes]:
        """Return the checkpoint from which what comes after `place` is read.

        Raises:
            Malformed: there is no such place.
        """
        ...

    def begin_snapshot(self) -> None:
        """Let the next reading publish every record that is listed, those that were published with the same position.

        The checkpoint knows of it until all pages are read; after a crash it begins again.

        Raises:
            Malformed: the API does not list everything that is there.
        """
        ...

    def saved(self) -> dict[str, bytes | None]:
        """Return the parts of the checkpoint that have changed since the last call."""
        ...
