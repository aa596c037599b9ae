"""Reads the partitions of one topic, from where the checkpoint says."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Literal

from services.system_api.sources.queue.kafka.following import (
    follow,
    next_offset,
    overtaken,
    pass_markers,
    truncated,
)
from services.system_api.sources.queue.kafka.messages import message_of, partition_name
from services.system_api.sources.queue.message import Message
from services.system_api.sources.queue.positions import Mark, Positions
from shared.bus.kafka.client.cluster import Cluster
from shared.bus.kafka.reader import KafkaReader, kafka_reader
from shared.bus.kafka.topics import bounds, offsets_at
from shared.bus.protocol import Record
from shared.errors import PositionLost, Unavailable

LEADER_EPOCH = "leader_epoch"
"""The fact that holds the epoch of the leader that wrote the last published record (KIP-320)."""
_SAVE_MARKERS = 1.0
"""Seconds between two checkpoints that hold nothing but markers."""


class TopicReader:
    """The partitions of one topic; `open` begins reading."""

    def __init__(self, cluster: Cluster, name: str, positions: Positions[int], max_bytes: int) -> None:
        self.name = name
        self._cluster = cluster
        self._positions = positions
        self._max_bytes = max_bytes
        self._stack = AsyncExitStack()
        self._reader: KafkaReader
        self._epoch = ""
        self._markers_saved = cluster.clock.monotonic()

    async def open(self, *, latest: bool) -> None:
        """Find out where to continue, and read from there; `latest` is for a topic without a checkpoint.

        Raises:
            Unavailable: the topic does not exist, or no broker answers.
        """
        found = (await self._cluster.refresh([self.name])).get(self.name)
        if found is None:
            raise Unavailable(
                f"Kafka at {self._cluster.options.servers}: topic {self.name!r} does not exist, or the account may not"
                " describe it; its owner must create it, or grant Describe and Read"
            )
        self._epoch = found.epoch
        known = any(mark.epoch and name.rpartition("/")[0] == self.name for name, mark in self._positions.marks.items())
        for number, each in (await bounds(self._cluster, self.name)).items():
            self._positions.losses += follow(
                self._place(number), self._mark(number), found.epoch, each, at_end=latest and not known
            )
        self._reader = await self._stack.enter_async_context(
            kafka_reader(
                self._cluster,
                self.name,
                {number: next_offset(self._mark(number)) for number in found.leaders},
                epochs={
                    number: epoch
                    for number in found.leaders
                    if isinstance(epoch := self._mark(number).facts.get(LEADER_EPOCH), int)
                },
                max_bytes=self._max_bytes,
            )
        )

    async def close(self) -> None:
        """Stop reading."""
        await self._stack.aclose()

    async def stale(self) -> bool:
        """Return whether the topic has more partitions than are read, or is another one; as the metadata say.

        Raises:
            Unavailable: the topic does not exist any more.
        """
        found = await self._cluster.topic(self.name)
        return found.epoch != self._epoch or bool(found.leaders.keys() - self._reader.positions.keys())

    def note_markers(self) -> None:
        """Move the marks over what was read and is not visible. All messages that were returned must be added."""
        moved = [
            mark
            for number, position in self._reader.positions.items()
            if pass_markers(mark := self._mark(number), position)
        ]
        now = self._cluster.clock.monotonic()
        if moved and now - self._markers_saved >= _SAVE_MARKERS:
            self._markers_saved = now
            for mark in moved:
                mark.changed = True

    async def read(self, limit: int, wait: float) -> Sequence[Record]:
        """Return the next records; wait only where the position must be checked against the leader's log."""
        try:
            return await self._reader.read(limit, wait)
        except PositionLost as exc:
            await self._resume(exc)
            return ()

    async def missing(self) -> int:
        """Return how many offsets are committed and not read yet; 1 at least for each position that is out of range."""
        found = await bounds(self._cluster, self.name)
        missing = 0
        for number, position in self._reader.positions.items():
            earliest, end = found.get(number, (position, position))
            missing += end - position if earliest <= position <= end else max(1, end - position)
        return missing

    @property
    def lost(self) -> bool:
        """Whether a position must be checked against the leader's log."""
        return self._reader.lost

    async def places(self, place: Literal["beginning", "end"] | datetime) -> dict[str, int | None]:
        """Return the offset before a place, by name of partition."""
        found = await bounds(self._cluster, self.name)
        firsts: dict[int, int | None] = {
            number: (each[0] if place == "beginning" else None) for number, each in found.items()
        }
        if isinstance(place, datetime):
            firsts = await offsets_at(self._cluster, self.name, int(place.timestamp() * 1000))
        places: dict[str, int | None] = {}
        for number, (_, end) in found.items():
            first = firsts.get(number)
            places[partition_name(self.name, number)] = (end if first is None else first) - 1
        return places

    async def wait(self) -> None:
        """Return when there may be something to read."""
        await self._reader.wait()

    def is_of(self, epoch: str | None) -> bool:
        """Return whether this is the topic that is read; `epoch` is the id that the topic of this name has now."""
        return epoch == self._epoch

    def message(self, record: Record) -> Message:
        """Return the message of a record."""
        mark = self._mark(record.partition)
        if (epoch := self._reader.epochs.get(record.partition)) is not None:
            mark.facts[LEADER_EPOCH] = epoch
        return message_of(record, mark.prefix)

    async def _resume(self, lost: PositionLost) -> None:
        """Continue a partition whose position is not in the log, and note what is lost."""
        number = lost.partition
        mark, place = self._mark(number), self._place(number)
        if lost.truncated:
            self._positions.losses += truncated(place, mark, lost.earliest)
            resume = lost.earliest
        elif lost.earliest > lost.offset:
            self._positions.losses += overtaken(place, mark, lost.earliest)
            resume = lost.earliest
        else:
            resume = (await bounds(self._cluster, self.name, end="uncommitted"))[number][1]
            self._positions.losses += truncated(place, mark, resume)
        self._reader.seek(number, resume)

    def _mark(self, number: int) -> Mark[int]:
        return self._positions.of(partition_name(self.name, number))

    def _place(self, number: int) -> str:
        return f"Kafka topic {self.name!r}, partition {number}"
