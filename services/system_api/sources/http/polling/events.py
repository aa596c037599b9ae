"""Builds the events and the rejects of an API's records."""

import msgspec

from services.system_api.sources.http.polling.changes.protocol import Deletion
from services.system_api.sources.http.polling.records import Record, Unreadable
from services.system_api.sources.source import EventBuilder
from shared.bus.protocol import Outgoing
from shared.events.dead_letter import Reject


class RecordEvents:
    """Builds what is published of one source."""

    def __init__(self, changed: EventBuilder, deleted: EventBuilder | None) -> None:
        """`deleted` builds the events of deletions; None: they are not published."""
        self._changed = changed
        self._deleted = deleted

    def begin_batch(self) -> None:
        """Start a batch."""
        self._changed.begin_batch()
        if self._deleted is not None:
            self._deleted.begin_batch()

    def event(self, record: Record, position: str) -> Outgoing:
        """Build the event of a record."""
        return self._changed.event(
            position, record.subject, record.data, None if record.time is None else record.time.text
        )

    def deletion(self, deletion: Deletion) -> Outgoing | None:
        """Build the event of a record that is no longer listed."""
        if self._deleted is None:
            return None
        return self._deleted.event(deletion.position, deletion.subject, msgspec.json.encode({"id": deletion.id}))

    def reject(self, record: Unreadable, page: str) -> Reject:
        """Build the reject of a record that cannot be read; `page` names the request."""
        name = self._changed.name
        place = page if record.place is None else f"{page}, record {record.place + 1}"
        return Reject(f"{name}:!{record.key}", record.value, f"{place}: {record.error}", "source", f"{name}:{place}")
