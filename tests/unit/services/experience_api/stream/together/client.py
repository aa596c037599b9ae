"""A client in the model: what it asks for, what it receives, and what it must have received."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self

from services.experience_api.hub.audience import Interest
from services.experience_api.hub.connection import Connection
from services.experience_api.refusals import Refused
from services.experience_api.wire.cursor import Vector
from services.experience_api.wire.snapshot_cursor import is_within_snapshot, vector_of
from tests.unit.services.experience_api.events import Event, events
from tests.unit.services.experience_api.stream.together.model import (
    PARTITIONS,
    Published,
    Replica,
    SlowTransport,
    World,
)


@dataclass(eq=False)
class Client:
    """A subscriber, across all its connections."""

    world: World
    interest: Interest
    snapshot: bool
    window: int
    cursor: str | None = None
    received: list[Event] = field(default_factory=list)
    timeline: list[tuple[Vector, Interest]] = field(default_factory=list)
    replica: Replica | None = None
    connection: Connection | None = None
    transport: SlowTransport | None = None
    read: int = 0
    conflated: bool = False
    asked: list[Interest] = field(default_factory=list)
    """Changes on this connection that it has not been told of."""
    gaps: list[tuple[Vector, Vector]] = field(default_factory=list)
    """From where to where it was told that events are missing."""

    async def connect(self, replica: Replica) -> None:
        interest = self.interest if self.snapshot else None
        try:
            cursor = await replica.beginning.cursor(self.cursor, None, interest)
        except Refused:
            return
        self.asked = []
        self.read, self.replica = 0, replica
        self.connection, self.transport = self.world.connection(self.interest, replica, self.window)
        replica.broadcast.start(self.connection, cursor)

    @property
    def live(self) -> bool:
        """Whether its replica says that it was written everything up to the head."""
        one, replica = self.connection, self.replica
        return one is not None and replica is not None and one.ending is None and replica.broadcast.is_live(one)

    def ahead(self) -> Self:
        """Return the client as it will be once it has received all that was written to it."""
        assert self.transport is not None
        lists: dict[str, Any] = {name: [*getattr(self, name)] for name in ("received", "timeline", "asked", "gaps")}
        found = replace(self, **lists)
        for each in events(self.transport.sent + self.transport.buffered)[self.read :]:
            found._receive(each)
        return found

    def lose(self) -> None:
        if self.connection is not None:
            self.world.lose(self.connection)
        self.connection = self.transport = self.replica = None

    def take(self, number: int) -> None:
        """Receive so many of the frames that have arrived."""
        if self.transport is None:
            return
        found = events(whole(self.transport.sent))
        for each in found[self.read : self.read + number]:
            self.read += 1
            self._receive(each)

    def _receive(self, each: Event) -> None:
        self.received.append(each)
        kind, cursor = each["type"], each.get("cursor")
        if cursor is not None:
            vector = vector_of(self.world.codec, cursor)
            begins = kind == "trelay.connected" and is_within_snapshot(cursor)  # perhaps in the place of a gap
            if self.cursor is not None and kind != "trelay.snapshot" and not begins:
                before = vector_of(self.world.codec, self.cursor)
                assert all(map(int.__le__, before, vector)), f"the cursor goes back: {self._told()}"
                if kind == "trelay.gap":
                    self.gaps.append((before, vector))
            self.cursor = cursor
        if kind == "trelay.subscribed":
            self.interest = self.asked.pop(0)
            self.timeline.append((vector_of(self.world.codec, self.cursor or ""), self.interest))
        elif kind in {"trelay.connected", "trelay.snapshot"} and (not self.timeline or kind == "trelay.snapshot"):
            self.timeline = [(vector_of(self.world.codec, self.cursor or ""), self.interest)]
        self.conflated = self.conflated or bool(self.interest.conflate)

    def change(self, interest: Interest) -> None:
        if self.connection is None or self.replica is None or self.connection.ending is not None:
            return
        self.asked.append(interest)
        _ = self.replica.broadcast.subscribe(self.connection, interest, "requested")

    # What it must have received

    def expected(self, upto: Vector) -> Iterator[Published]:
        """Yield what the stream has for it, from where its stream begins."""
        for each in self.world.log:
            if each.offset >= upto[each.partition]:
                continue
            if any(before[each.partition] <= each.offset < after[each.partition] for before, after in self.gaps):
                continue
            current = [interest for vector, interest in self.timeline if vector[each.partition] <= each.offset]
            if current and each.wanted(current[-1]):
                yield each

    def check(self, upto: Vector) -> None:
        """Check everything, once it was written all up to these offsets, and has read it."""
        stream, snapshot = self._divided()
        by_id = {each.id: each for each in self.world.log}
        found = [by_id[each["id"]] for each in stream if each["source"] != "/trelay"]
        assert len({each.id for each in found}) == len(found), "an event arrived twice"
        for partition in range(PARTITIONS):
            offsets = [each.offset for each in found if each.partition == partition]
            assert offsets == sorted(offsets), "the order of a partition"
        missing = set(self.expected(upto)) - set(found)
        if self.conflated:
            # Where a round was cut off, what it left out is followed by an event that this replica may not have read.
            newest = {each.about: each for each in self.expected(self.world.ends)}
            missing = {each for each in missing if newest[each.about].offset < upto[each.partition]} - {
                each for each in missing if newest[each.about] in found
            }
        surplus = set(found) - set(self.expected(self.world.ends))
        assert (missing, surplus) == (set(), set()), f"up to {upto}: {self._told()}"
        if self.snapshot:
            self._check_snapshot([by_id[each["id"]] for each in snapshot if each["source"] != "/trelay"])

    def _told(self) -> str:
        """Return what it was sent, for a failure."""
        lines = [f"{self.interest} {self.interest.filters} conflate={self.interest.conflate} {self.timeline}"]
        for each in self.received:
            own = each["source"] == "/trelay"
            shown = each["data"] if own else (each["channel"], each["subject"], each["data"]["n"])
            cursor = each.get("cursor") and vector_of(self.world.codec, each["cursor"])
            lines.append(f"{each['id'][-20:]} {each['type']} {cursor} {shown}")
        return "\n".join(lines)

    def _divided(self) -> tuple[list[Event], list[Event]]:
        """Return the events of the stream, and those of the latest snapshot before it."""
        phases = [
            (number, each["data"]["phase"])
            for number, each in enumerate(self.received)
            if each.get("type") == "trelay.snapshot"
        ]
        if not self.snapshot:
            assert not phases
            return self.received, []
        begin = [number for number, phase in phases if phase == "begin"][-1]
        end = [number for number, phase in phases if phase == "end"][-1]
        assert begin < end
        return self.received[end:], self.received[begin:end]

    def _check_snapshot(self, found: list[Published]) -> None:
        start, interest = self.timeline[0]
        assert len(set(found)) == len(found)
        before: dict[tuple[str, str], Published] = {}
        later = {each.about for each in self.world.log if each.offset >= start[each.partition]}
        for each in self.world.log:
            if each.offset < start[each.partition]:
                before[each.about] = each
        for each in found:
            assert before[each.about] is each, ("not the latest", each, before[each.about])
            assert not each.gone
        wanted = {each for each in before.values() if not each.gone and each.wanted(interest)}
        missing = {each for each in wanted - set(found) if each.about not in later}
        assert not missing, ("missing in the snapshot", missing)


def whole(sent: bytes) -> bytes:
    """Return the frames that are whole."""
    at = 0
    while at + 2 <= len(sent):
        size, head = sent[at + 1], 2
        if size >= 126:
            head = 4 if size == 126 else 10
            size = int.from_bytes(sent[at + 2 : at + head], "big")
        if at + head + size > len(sent):
            break
        at += head + size
    return sent[:at]
