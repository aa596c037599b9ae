"""What is remembered of each record, in parts of bounded size, so that a batch saves only the parts that it changed.

A new record goes to the open part. A part is full at 16 KiB; one that has lost half of its records is filled again.
No I/O.
"""

from collections.abc import Iterator, KeysView
from typing import Any

import msgspec

from services.system_api.sources.source import Checkpoint
from shared.errors import SettingsError

_PREFIX = "records/"
_FULL = 16_384
"""Approximate bytes of a part."""
_OVERHEAD = 40
"""Approximate bytes of an entry beside its id."""

Entry = list[Any]
"""A few JSON scalars."""

_decode = msgspec.json.Decoder(dict[str, Entry]).decode
_encode = msgspec.json.Encoder().encode


class Segments:
    """Entries by the id of a record, as a mapping that knows which parts of the checkpoint have changed."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Raises `SettingsError` where the parts are not those of this class."""
        self._segments: dict[int, dict[str, Entry]] = {}
        self._sizes: dict[int, int] = {}
        self._place: dict[str, int] = {}
        self._changed: set[int] = set()
        for part, value in checkpoint.items():
            if part.startswith(_PREFIX):
                self._load(part, value)
        self._open = self._emptiest()

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, identity: str) -> bool:
        return identity in self._place

    def get(self, identity: str) -> Entry | None:
        """Return the entry of a record, None where there is none."""
        place = self._place.get(identity)
        return None if place is None else self._segments[place][identity]

    def put(self, identity: str, entry: Entry) -> None:
        """Set the entry of a record."""
        place = self._place.get(identity)
        if place is None:
            if self._sizes.get(self._open, 0) >= _FULL:
                self._open = self._emptiest()
            place = self._place[identity] = self._open
            self._sizes[place] = self._sizes.get(place, 0) + _size(identity)
        self._segments.setdefault(place, {})[identity] = entry
        self._changed.add(place)

    def discard(self, identity: str) -> None:
        """Remove the entry of a record; nothing happens where there is none."""
        place = self._place.pop(identity, None)
        if place is not None:
            del self._segments[place][identity]
            self._sizes[place] -= _size(identity)
            self._changed.add(place)

    def ids(self) -> KeysView[str]:
        """Return the ids of all records."""
        return self._place.keys()

    def items(self) -> Iterator[tuple[str, Entry]]:
        """Yield all entries, in the order of the parts."""
        for _, segment in sorted(self._segments.items()):
            yield from segment.items()

    def take_changed(self) -> dict[str, bytes | None]:
        """Return the parts that have changed since the last call; None for a part that is empty."""
        changed = {f"{_PREFIX}{place}": _encode(self._segments[place]) for place in sorted(self._changed)}
        empty = [place for place in self._changed if not self._segments[place]]
        for place in empty:
            del self._segments[place], self._sizes[place]
        self._changed.clear()
        return {part: None if value == b"{}" else value for part, value in changed.items()}

    def parts(self) -> dict[str, bytes]:
        """Return all parts."""
        return {f"{_PREFIX}{place}": _encode(segment) for place, segment in self._segments.items() if segment}

    def _load(self, part: str, value: bytes) -> None:
        try:
            place, found = int(part.removeprefix(_PREFIX)), _decode(value)
        except (ValueError, msgspec.DecodeError) as exc:
            raise SettingsError(f"the checkpoint has an unknown part {part!r}") from exc
        self._segments[place] = found
        self._sizes[place] = sum(map(_size, found))
        self._place.update(dict.fromkeys(found, place))

    def _emptiest(self) -> int:
        """Return a part that is at most half full, else a new one."""
        place = min(self._sizes, key=lambda each: (self._sizes[each], each), default=None)
        if place is not None and self._sizes[place] <= _FULL // 2:
            return place
        return next(number for number in range(len(self._sizes) + 1) if number not in self._sizes)


def _size(identity: str) -> int:
    return len(identity) + _OVERHEAD
