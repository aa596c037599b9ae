"""Which state belongs to which step. Sans-I/O.

A definition names a step by what its state depends on: the pipeline, the kind, the settings, and its number among equal
steps. Each definition that runs has an instance, under whose number its keys are. A definition that does not run any
more loses its instance, and a later one of the same name gets another: the state in between would lack events.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

import msgspec


class _Written(msgspec.Struct):
    next: int
    active: dict[str, int]
    offset: int


_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(_Written).decode


@dataclass(slots=True)
class Definitions:
    """The instances of one partition."""

    next: int = 1
    active: dict[str, int] = field(default_factory=dict)
    offset: int | None = None
    """The committed offset of the input up to which the state is complete."""

    @classmethod
    def read(cls, written: bytes | None) -> Self:
        """Return what `write` has written; none of it is none."""
        if written is None:
            return cls()
        found = _decode(written)
        return cls(found.next, found.active, found.offset)

    def write(self, offset: int) -> bytes:
        """Return it as JSON, for the transaction that commits `offset` of the input."""
        return _encode(_Written(self.next, self.active, offset))

    def run(self, names: Iterable[str]) -> bool:
        """Note which definitions run from now on, and return whether anything has changed."""
        wanted = list(names)
        active = {name: self.active[name] for name in wanted if name in self.active}
        missing = [name for name in wanted if name not in self.active]
        changed = bool(missing) or len(active) < len(self.active)
        for name in missing:
            active[name] = self.next
            self.next += 1
        self.active = active
        return changed

    @property
    def obsolete(self) -> list[int]:
        """The instances that do not run any more."""
        return sorted(set(range(1, self.next)) - set(self.active.values()))
