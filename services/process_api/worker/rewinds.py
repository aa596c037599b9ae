"""Carries out rewinds in one partition: with its writer, in one transaction of the offset, the starts and the state.

A crash before the commit leaves the request to the next run, one after it does not repeat it; a replica that lost the
partition is fenced by its writer.
"""

from services.process_api.operations.controls import Controls
from services.process_api.operations.requests import Rewind, encode, starts_key
from services.process_api.operations.starts import Starts
from services.process_api.pipeline.selection import Selection
from services.process_api.state.partition_state import PartitionState
from services.process_api.worker.reporting import Reporter
from shared.bus.protocol import Bus, TopicPartition, Transaction, Writer
from shared.bus.topics import TopicsOptions
from shared.runtime import failpoints


class Rewinds:
    """The rewinds of the partitions of one replica."""

    def __init__(self, bus: Bus, topics: TopicsOptions, group: str, controls: Controls, reporter: Reporter) -> None:
        """`group` commits the offsets."""
        self._bus = bus
        self._topics = topics
        self._group = group
        self._controls = controls
        self._report = reporter

    async def carry_out(
        self,
        writer: Writer,
        position: TopicPartition,
        committed: int,
        selection: Selection,
        state: PartitionState | None,
    ) -> tuple[int, Starts]:
        """Carry out what is asked of a partition, at the beginning of its run.

        `committed` is the offset that the writer has read, and `state` the state at that offset. Returns the committed
        offset from then on, and where each pipeline runs. Raises what `Writer.commit` does.
        """
        asked = await self._controls.fresh(self._bus)
        starts = asked.starts(position.partition, await self._bus.epoch(position.topic))
        pipelines = {pipeline.name: pipeline for pipeline in selection.pipelines}
        for name, rewind in list(asked.pending(pipelines, position.partition, starts)):
            to: int | None = rewind.to[position.partition]
            if pipelines[name].stateful and not rewind.reset_state:
                self._report.rewind_refused(position, name, rewind.id)
                to = None
            if to is not None:
                starts = starts.cut(name, committed, rewind.id, rewind.to, divided=pipelines[name].parts > 1)
            offset, starts = starts.rewound(name, committed, to, rewind.id)
            if to is not None and state is not None and pipelines[name].stateful:
                state.forget(pipelines[name].definitions.values())
            await self._commit(writer, position, offset, starts, state)
            failpoints.reach("process.rewound")
            if to is not None:
                self._report_done(position, name, rewind, committed, offset)
            committed = offset
        return committed, starts

    async def _commit(
        self, writer: Writer, position: TopicPartition, offset: int, starts: Starts, state: PartitionState | None
    ) -> None:
        transaction = Transaction()
        transaction.commit_offset(self._group, position, offset)
        transaction.append(self._topics.pipelines, starts_key(position.partition), encode(starts))
        if state is not None:
            transaction.placed[state.place] = state.seal(offset)
        await writer.commit(transaction)
        if state is not None:
            await state.settle()

    def _report_done(self, position: TopicPartition, name: str, rewind: Rewind, before: int, offset: int) -> None:
        self._report.rewound(position, name, {"by": rewind.by, "to": rewind.place, "before": before, "offset": offset})
