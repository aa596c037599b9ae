"""What a source of the log has published, and what its checkpoint holds. No I/O."""

from collections.abc import Sequence

import msgspec

from services.system_api.sources.source import Checkpoint
from services.system_api.sources.table.checking.checkpoints import check_saved_mode, checkpoint_errors
from services.system_api.sources.table.postgresql.replication.transactions import Change, LastChange, Place
from shared.errors import SettingsError

_VERSION = 1
_encode = msgspec.json.Encoder().encode


class SnapshotProgress(msgspec.Struct, frozen=True):
    """A snapshot that is in progress."""

    after: str | None = None
    """The key of the last row that was published; None: none yet."""
    start: str | None = None
    """The transactions that were visible when it began, as PostgreSQL writes them; None: it has not begun."""
    seen: tuple[int, ...] = ()
    """The ids of those of them whose changes were published from the log nevertheless."""


class _Saved(msgspec.Struct, frozen=True):
    v: int
    mode: str
    system: str
    lsn: int
    number: int
    snapshot: SnapshotProgress | None = None
    last: LastChange | None = None
    published: str | None = None


class LogState:
    """The place of one source."""

    def __init__(self, mode: str, system: str, checkpoint: Checkpoint) -> None:
        """Resume from a checkpoint. `mode` and `system`, which identifies the server, must be those of the checkpoint.

        Raises:
            SettingsError: the checkpoint is of another kind of source, of another mode or of another server.
        """
        self._mode = mode
        self._system = system
        self.place: Place | None = None
        """Everything up to here is published; None: the source is new."""
        self.last: LastChange | None = None
        """The last change that was published; None: none yet, or that is not known."""
        self.published: str | None = None
        """What identifies the publication of the table; None: that is not known."""
        self.snapshot: SnapshotProgress | None = None
        if checkpoint:
            self._load(checkpoint)

    def saved(self) -> dict[str, bytes | None]:
        """Return the checkpoint; there must be a place."""
        assert self.place is not None, "a source is at a place once it has been opened"
        saved = _Saved(_VERSION, self._mode, self._system, *self.place, self.snapshot, self.last, self.published)
        return {"": _encode(saved)}

    def check_published(self, publication: str, identity: str) -> None:
        """Check that a publication is still the one with which the log was read so far.

        Raises:
            SettingsError: it is another one, or has left out the table meanwhile.
        """
        if self.published is None:
            self.published = identity
        if self.published != identity:
            raise SettingsError(
                f"publication: publication {publication!r} was altered or created again, or the table was added to it"
                " again, since the place of the checkpoint: changes in between may be missing; rewind the source to the"
                " beginning, for a new snapshot, or to the end if there were none"
            )

    def note_last(self, changes: Sequence[Change]) -> None:
        """Note changes that are published, in their order."""
        if changes:
            self.last = LastChange(*changes[-1].place, changes[-1].xid, changes[-1].time)

    @staticmethod
    def place_of(saved: bytes) -> Place:
        """Return the place of a checkpoint from `saved`."""
        found = msgspec.json.decode(saved, type=_Saved)
        return Place(found.lsn, found.number)

    def _load(self, checkpoint: Checkpoint) -> None:
        with checkpoint_errors("a table in mode replication", "mode"):
            saved = msgspec.json.decode(checkpoint[""], type=_Saved)
        check_saved_mode(saved, _VERSION, self._mode)
        if saved.system != self._system:
            raise SettingsError(
                "the checkpoint is a place in the log of another server or database, and the changes since then are not"
                " in this one: rewind the source to the beginning, for a new snapshot"
            )
        self.place, self.snapshot, self.last = Place(saved.lsn, saved.number), saved.snapshot, saved.last
        self.published = saved.published
