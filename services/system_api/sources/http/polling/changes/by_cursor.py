"""Follows an API that gives a cursor for the changes after a page. The cursor is saved with the events of the page.

The ids that were read last are saved as well, each with its version: these records are not published again where the
API repeats what is at a cursor, or where a page is read again after a crash. A known id with another version is another
change: with delta links, an id is that of the entity. No I/O.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from services.system_api.sources.http.polling.changes.protocol import Deletion
from services.system_api.sources.http.polling.changes.segments import Segments
from services.system_api.sources.http.polling.changes.state_part import StatePart
from services.system_api.sources.http.polling.options import ByCursorOptions
from services.system_api.sources.http.polling.records import Record
from services.system_api.sources.source import Checkpoint
from shared.errors import Malformed, TrelayError

MODE = "cursor"

_LIMIT = 2_000_000
"""Ids that are remembered at most, at some 200 bytes each: those of all pages until the cursor moves."""


class _State(msgspec.Struct):
    mode: str
    cursor: str | None
    count: int
    """Records that were published."""


class ByCursor:
    """The cursor of one source, and the ids before it."""

    problem: str | None = None

    def __init__(self, options: ByCursorOptions, checkpoint: Checkpoint) -> None:
        """Raises `SettingsError` where the checkpoint is of another kind."""
        self.more = False
        self._options = options
        self._part = StatePart(checkpoint, MODE, _State)
        state = self._part.loaded or _State(MODE, options.start, 0)
        self.cursor = state.cursor
        self._count = state.count
        self._recent = Segments(checkpoint)
        self._in_order = OrderedDict.fromkeys(sorted(self._recent.ids(), key=self._number))
        """The ids that are remembered, oldest first."""
        self._taken = 0
        """Records of this poll that were published."""
        self._next: str | None = None
        """The newest cursor of this poll."""

    @property
    def url(self) -> str | None:
        """Return the cursor where that is a URL."""
        return self.cursor if self._options.parameter is None else None

    def query(self) -> dict[str, str]:
        """Return the parameter with the cursor."""
        parameter = self._options.parameter
        return {} if parameter is None or self.cursor is None else {parameter: self.cursor}

    def begin_again(self) -> bool:
        """See `Changes`; a cursor of the settings that the API does not know stays an error."""
        if self._options.on_expired != "restart" or self.cursor == self._options.start:
            return False
        self.cursor, self._next, self._taken = self._options.start, None, 0
        return True

    def note_time(self, sent: float | None) -> bool:  # noqa: ARG002 -- this is for others
        """Return False: no time decides where this starts."""
        return False

    def begin_page(self, records: Sequence[Record]) -> None:
        """Do nothing: the order does not matter."""

    def take(self, record: Record) -> str | None:
        """Return the position of the record's event, or None; see `Changes`."""
        known = self._recent.get(record.id)
        if known is not None and known[1:] in ([], [record.version]):  # entries of older releases have no version
            return None
        if len(self._recent) >= _LIMIT:
            raise TrelayError(f"more than {_LIMIT} records before the cursor moves; expected a cursor on earlier pages")
        position = _first_position(record) if known is None else f"{record.id}@{self._count}"
        self._recent.put(record.id, [self._count, record.version])
        self._in_order[record.id] = None
        self._in_order.move_to_end(record.id)
        self._count += 1
        self._taken += 1
        return position

    def listed(self, ids: Iterable[str]) -> None:
        """Do nothing: these records are remembered already."""

    def page_read(self, cursor: str | None) -> None:
        """Keep the cursor of the page; it counts when all pages are read."""
        self._next = cursor or self._next

    def pages_moved(self) -> None:
        """Do nothing: what was listed counts, and the pages are read again."""

    def finish(self, *, complete: bool) -> None:  # noqa: ARG002 -- this is for others
        """Move to the newest cursor, and forget all ids but those that were read last."""
        if self._taken and self._next is None:
            raise TrelayError(
                "changes.cursor: the expression gives nothing on a page with new records, so that the next poll would"
                " read the same page; expected a text or a number"
            )
        moved = self._next is not None and self._next != self.cursor
        self.more = moved and self._taken > 0
        self.cursor = self._next or self.cursor
        self._next, self._taken = None, 0
        while len(self._in_order) > self._options.window:
            self._recent.discard(self._in_order.popitem(last=False)[0])

    def deletions(self, limit: int) -> list[Deletion]:  # noqa: ARG002 -- as above
        """Return none: a deletion is a change like others."""
        return []

    def checkpoint(self) -> dict[str, bytes]:
        """Return all parts of the checkpoint."""
        return self._recent.parts() | self._part.part(_State(MODE, self.cursor, self._count))

    def checkpoint_at(self, place: Literal["beginning"] | datetime) -> dict[str, bytes]:
        """Return a checkpoint without a cursor."""
        if place != "beginning":
            raise Malformed("an API that is followed by a cursor (changes.kind: cursor) has no times to rewind to")
        # The numbers go on: an id with a number that was published must not come again for another change.
        return self._part.part(_State(MODE, None, self._count))

    def begin_snapshot(self) -> None:
        """Raise `Malformed`: a cursor leads to changes, and not to all records that are there."""
        raise Malformed(
            "an API that is followed by a cursor (changes.kind: cursor) lists changes, and not what is there: rewind to"
            " the beginning to publish all changes again"
        )

    def saved(self) -> dict[str, bytes | None]:
        """Return the parts of the checkpoint that have changed."""
        return self._recent.take_changed() | self._part.changed(_State(MODE, self.cursor, self._count))

    def _number(self, identity: str) -> int:
        entry = self._recent.get(identity)
        assert entry is not None, "it is one of them"
        number: int = entry[0]
        return number


def _first_position(record: Record) -> str:
    """Return the position of a record that is not remembered.

    An id that is that of the entity may have been published, and forgotten since: its version tells the changes apart.
    """
    return f"{record.id}@{record.version}" if record.subject == record.id else record.id
