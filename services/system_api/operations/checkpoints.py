"""How the checkpoint of a source is saved: its parts by key, and one part that the supervisor keeps for itself. No I/O.

That part is committed with every batch, in the transaction of its events. So the counts are those of exactly the
batches that are committed, and a request of an operator is carried out exactly once, whatever crashes.
"""

from collections.abc import Mapping

import msgspec

from services.system_api.sources.source import Batch, Checkpoint

PART = "~trelay"
"""Its name; no source has a part of this name."""


class OwnPart(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is saved. The counts are of all batches since the source has this name."""

    generation: int = 0
    """Of the newest request of an operator that was carried out."""
    rows: int = 0
    """What the source read: rows, lines, messages."""
    published: int = 0
    rejected: int = 0
    skipped: int = 0
    """Rows that are no event on purpose, such as those that were published before."""
    redelivered: int = 0
    """Rows that a broker had delivered before."""
    parked: int = 0
    """Rejects that were delivered too often."""

    @property
    def unaccounted(self) -> int:
        """Rows that were read and are neither an event nor a reject nor skipped; negative if there are too many."""
        return self.rows - self.published - self.rejected - self.skipped

    def after(self, batch: Batch) -> "OwnPart":
        """Return this with a batch counted."""
        published, rejected = len(batch.records), len(batch.rejects)
        rows = published + rejected + batch.skipped if batch.rows is None else batch.rows
        return OwnPart(
            self.generation,
            self.rows + rows,
            self.published + published,
            self.rejected + rejected,
            self.skipped + batch.skipped,
            self.redelivered + batch.redelivered,
            self.parked + batch.parked,
        )

    def refused(self, count: int) -> "OwnPart":
        """Return this with so many events counted as rejects."""
        return msgspec.structs.replace(self, published=self.published - count, rejected=self.rejected + count)

    def carried_out(self, generation: int) -> "OwnPart":
        """Return this with the request of this generation carried out."""
        return msgspec.structs.replace(self, generation=generation)

    def save(self) -> bytes:
        """Return it as the value of a part."""
        return msgspec.json.encode(self)


def split(checkpoint: Checkpoint) -> tuple[OwnPart, Checkpoint]:
    """Return the own part of a saved checkpoint, and the rest, which is the source's."""
    rest = dict(checkpoint)
    saved = rest.pop(PART, None)
    return OwnPart() if saved is None else msgspec.json.decode(saved, type=OwnPart), rest


def changes(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> dict[str, bytes | None]:
    """Return the parts to write so that a checkpoint `before` becomes `after`."""
    return {part: None for part in before if part not in after} | dict(after)


def checkpoint_key(source: str, part: str) -> bytes:
    """Return the record key of one part of a source's checkpoint."""
    return f"{source}/{part}".encode() if part else source.encode()


def checkpoint_part(source: str, key: bytes) -> str:
    """Return the part of a record key; the inverse of `checkpoint_key`."""
    return key.decode()[len(source) + 1 :]
