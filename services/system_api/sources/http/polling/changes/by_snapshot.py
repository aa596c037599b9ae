"""Recognises inserts, updates and deletes by comparison with the records that were listed before.

The checkpoint holds the version of each record. The position of an event has the number of its poll, so that a record
that returns to an earlier version, or is listed again after its deletion, has a new position. The number grows with
each poll that publishes something; a poll that is repeated after a crash has the same one, unless a part of it was
committed. No I/O.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from services.system_api.sources.http.polling.changes.protocol import Deletion
from services.system_api.sources.http.polling.changes.segments import Entry, Segments
from services.system_api.sources.http.polling.changes.state_part import StatePart
from services.system_api.sources.http.polling.options import BySnapshotOptions
from services.system_api.sources.http.polling.records import Record
from services.system_api.sources.source import Checkpoint
from shared.errors import Malformed, TrelayError

MODE = "snapshot"


class _State(msgspec.Struct, omit_defaults=True):
    mode: str
    poll: int
    """The number of the last poll that published something."""
    snapshot: bool = False
    """Whether a snapshot is in progress."""


class BySnapshot:
    """The records of one source as they were published."""

    more = False
    url: str | None = None
    cursor: str | None = None

    def __init__(self, options: BySnapshotOptions, checkpoint: Checkpoint) -> None:
        """Raises `SettingsError` where the checkpoint is of another kind."""
        self.problem: str | None = None
        self._options = options
        self._part = StatePart(checkpoint, MODE, _State)
        self._known = Segments(checkpoint)
        self._last = 0 if self._part.loaded is None else self._part.loaded.poll
        self._poll = self._last + 1
        self._snapshot = self._part.loaded is not None and self._part.loaded.snapshot
        self._again: set[str] = set()
        """The records that this snapshot has published."""
        self._listed: set[str] = set()
        self._on_page: set[str] = set()
        """The records of this page that were published."""
        self._missing: dict[str, int] = {}
        """By id, in how many polls in succession a record was not listed. Not saved: a restart counts again."""
        self._deleted: deque[str] = deque()

    def query(self) -> dict[str, str]:
        """Return no parameters: the whole list is read."""
        return {}

    def begin_again(self) -> bool:
        """Return False: there is no cursor that the API could forget."""
        return False

    def note_time(self, sent: float | None) -> bool:  # noqa: ARG002 -- this is for others
        """Return False: no time decides where this starts."""
        return False

    def begin_page(self, records: Sequence[Record]) -> None:
        """Do nothing: the order does not matter."""

    def take(self, record: Record) -> str | None:
        """Return the position of the record's event, or None; see `Changes`."""
        known = self._known.get(record.id)
        if known is None and len(self._known) >= self._options.limit:
            raise TrelayError(
                f"the list has more than {self._options.limit} records (changes.limit): raise it, at some 300 bytes of"
                " memory for each record, or find changes by time"
            )
        again = record.id in self._listed
        self._listed.add(record.id)
        entry = _entry(record, self._poll)
        if known is not None and _is_same(known, entry):
            if not self._snapshot or record.id in self._again:
                return None
            self._again.add(record.id)
            return f"{record.id}@{_poll_of(known)}"
        if record.id in self._on_page:
            raise Malformed(
                f"id: {record.id[:80]!r} occurs twice on one page; expected an id that identifies one record"
            )
        if again:
            self._poll = self._last + 1  # it was updated, and has moved to another page
            entry = _entry(record, self._poll)
        self._on_page.add(record.id)
        self._again.add(record.id)
        self._known.put(record.id, entry)
        return self._position(record.id)

    def listed(self, ids: Iterable[str]) -> None:
        """Note that the list still has these records."""
        self._listed.update(ids)

    def page_read(self, cursor: str | None) -> None:  # noqa: ARG002 -- this is for others
        """Note the end of a page."""
        self._on_page.clear()

    def pages_moved(self) -> None:
        """Note the end of a page; what was listed counts."""
        self._on_page.clear()

    def finish(self, *, complete: bool) -> None:
        """Count what is missing; with an unreadable record in the list, nothing is."""
        empty = not self._listed and complete and len(self._known) > 0
        if empty and not self._options.allow_empty:
            self.problem = (
                f"the list is empty, and had {len(self._known)} records before: nothing is deleted. If that is"
                " intended, set changes.allow_empty"
            )
        else:
            self.problem = None
            if complete:
                self._count_missing()
        self._listed, self._again, self._snapshot = set(), set(), False
        self._poll = self._last + 1

    def deletions(self, limit: int) -> list[Deletion]:
        """Return records that count as deleted; see `Changes`."""
        found: list[Deletion] = []
        while self._deleted and len(found) < limit:
            identity = self._deleted.popleft()
            entry = self._known.get(identity)
            assert entry is not None, "it was counted as missing in this poll"
            self._known.discard(identity)
            found.append(Deletion(identity, _subject_of(entry) or identity, self._position(identity)))
        self._poll = self._last + 1  # a record that is listed again has another position than its deletion
        return found

    def checkpoint(self) -> dict[str, bytes]:
        """Return all parts of the checkpoint."""
        return self._known.parts() | self._part.part(_State(MODE, self._last, self._snapshot))

    def checkpoint_at(self, place: Literal["beginning"] | datetime) -> dict[str, bytes]:
        """Forget all records, but not the number of the poll: the versions of then are not known, nor their events."""
        if place != "beginning":
            raise Malformed(
                "a list that is compared (changes.kind: snapshot) has no times to rewind to: only its beginning"
            )
        return self._part.part(_State(MODE, self._last))

    def begin_snapshot(self) -> None:
        """See `Changes`."""
        self._snapshot, self._again = True, set()
        self.pages_moved()

    def saved(self) -> dict[str, bytes | None]:
        """Return the parts of the checkpoint that have changed."""
        return self._known.take_changed() | self._part.changed(_State(MODE, self._last, self._snapshot))

    def _count_missing(self) -> None:
        missing = self._known.ids() - self._listed
        self._missing = {identity: self._missing.get(identity, 0) + 1 for identity in missing}
        confirmed = sorted(
            identity for identity, polls in self._missing.items() if polls >= self._options.confirm_deletes
        )
        for identity in confirmed:
            del self._missing[identity]
        self._deleted.extend(confirmed)

    def _position(self, identity: str) -> str:
        self._last = self._poll
        return f"{identity}@{self._poll}"


def _entry(record: Record, poll: int) -> Entry:
    """Return what is remembered: the version, the number of the poll, and the subject where that is not the id."""
    return [record.version, poll] if record.subject == record.id else [record.version, poll, record.subject]


def _is_same(known: Entry, entry: Entry) -> bool:
    return bool(known[0] == entry[0]) and _subject_of(known) == _subject_of(entry)


def _subject_of(entry: Entry) -> str | None:
    last = entry[-1]
    return last if len(entry) > 1 and isinstance(last, str) else None


def _poll_of(entry: Entry) -> int:
    """Return the number of the poll that published a record; entries of older releases do not have it."""
    return entry[1] if len(entry) > 1 and isinstance(entry[1], int) else 0
