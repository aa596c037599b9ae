"""The content of one transaction while it is filled: records go in, outputs and dead letters come out. Sans-I/O."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from services.process_api.operations.gate import Gate
from services.process_api.pipeline.part import part_in
from services.process_api.pipeline.pipeline import Pipeline
from services.process_api.pipeline.selection import Selection
from services.process_api.pipeline.steps.outcome import Rejected
from services.process_api.pipeline.steps.scope import OnStep, Scope
from services.process_api.pipeline.steps.step import NotKnown
from services.process_api.worker.fast_path import FastPath, fast_path_of
from services.process_api.worker.outputs import Shadowed, Tally, checked, parted
from services.process_api.worker.poison import PoisonTracker
from services.process_api.worker.rejects import fitting, reject_of, reject_of_result
from services.process_api.worker.routing import Refused, Routed, Router, why_unclaimed
from services.process_api.worker.waiting import MadeDue, Plan, Result, finish, finish_stateless, planned, run_due, start
from shared.bus.protocol import RECORD_LIMIT, Outgoing, Record, TopicPartition, Transaction
from shared.bus.topics import TopicsOptions
from shared.errors import Unavailable
from shared.events.dead_letter import Reject

StepTimer = Callable[[Pipeline], OnStep]
"""Starts to time the steps of a pipeline for one event."""


class Batch:
    """The outputs and dead letters of records of one partition, in their order."""

    def __init__(
        self, selection: Selection, poison: PoisonTracker, event_limit: int = RECORD_LIMIT, gate: Gate | None = None
    ) -> None:
        """`event_limit` is the bytes of the largest event for subscribers; without a gate, all pipelines run."""
        self._gate = gate
        self.rewinds: Callable[[str], str] = lambda _pipeline: ""
        """Returns what a dead letter of a pipeline, by name and version, says of its rewinds."""
        self._event_limit = event_limit
        self._checked = partial(checked, event_limit=event_limit)
        self.outputs: list[Outgoing] = []
        self.forwarded: list[Outgoing] = []
        """Events that go on in a later part of their pipeline."""
        self.rejects: list[Reject] = []
        self.tallies = {pipeline.name: Tally() for pipeline in selection.pipelines}
        self.parents: Counter[bytes] = Counter()
        """The spans that its events belong to, each with their number, while spans are made."""
        self.shadowed: list[Shadowed] = []
        """What pipelines with a shadow made of the records."""
        self.unclaimed = 0
        """Dead letters of no pipeline: not an event, too large, or of a source that no pipeline takes."""
        self.count = 0
        """Records that were added."""
        self.size = 0
        """Bytes of the values of outputs and dead letters."""
        self.first = self.last = -1
        """The offsets of the first record and the last one."""
        self.done = 0
        """Of the records that `add` adds: how many were added."""
        self.waits = selection.waits
        """Whether a pipeline waits for something: then `add_waiting` adds records, else `add`."""
        self._timed_out = False
        """Whether an expression timed out on the last record."""
        self._not_run = -1
        """The offset of the last record that was rejected without being run; such a record comes alone."""
        self._selection = selection
        self._poison = poison
        self._router = Router(selection, poison)
        self._fast: FastPath | None = None
        self._may_be_fast = gate is None
        """Whether the source of the next record may get the fast path."""

    def add(self, records: Sequence[Record], step_timer: StepTimer | None = None) -> int:
        """Run the pipelines on records; each becomes outputs or dead letters, or is filtered out.

        `step_timer` times the first record. Returns how many records were added: fewer than given where an expression
        timed out, so that other tasks run before the next record.

        Raises:
            Unavailable: a step waits for something; its record and those behind it were not added.
        """
        self.done = 0
        self._timed_out = False
        try:
            while self.done < len(records) and not self._timed_out:
                if self._fast is None:
                    self._add(records[self.done], None if self.done else step_timer)
                    self.done += 1
                elif not self._fast.add(self, records):
                    self._may_be_fast, self._fast = self._fast.worthwhile, None
        except Unavailable as exc:
            self._poison.note_attempt(exc, records[self.done])
            raise
        finally:
            self._added(records, self.done)
        self._note_run()
        return self.done

    async def add_waiting(self, records: Sequence[Record], scope: Scope) -> None:
        """Run the pipelines on records, on all of them at once up to the steps that keep state.

        Raises:
            Unavailable: a step waits for something; its record and those behind it were not added.
        """
        if self._selection.quick:
            records = records[await self._add_known(records, scope) :]
            if not records:
                return
        plans, paused = planned(records, self._router, self._gate)
        await start(self._selection.pipelines, plans, scope)
        done = 0
        try:
            for plan in plans:
                await self._finish(plan, scope)
                done += 1
                if scope.state is not None:
                    await self.add_due(scope, plan.record.offset)
                if scope.turns.due():
                    await scope.turns.rest()
        except Unavailable:
            if done < len(plans):
                self._poison.attempts.ran(records[done].offset)
            raise
        finally:
            self._added(records, done)
        if plans:
            self._note_run()
        if paused is not None:
            raise paused

    async def _add_known(self, records: Sequence[Record], scope: Scope) -> int:
        """Add records one by one up to the first for which a step has to wait; return how many."""
        done = 0
        try:
            for record in records:
                self._add(record, None if done else scope.step_timer)
                done += 1
                if scope.turns.due():
                    await scope.turns.rest()
        except NotKnown:
            pass
        except Unavailable as exc:
            self._poison.note_attempt(exc, records[done])
            raise
        finally:
            self._added(records, done)
        if done:
            self._note_run()
        return done

    def transaction(self, topics: TopicsOptions, group: str, position: TopicPartition, offset: int) -> Transaction:
        """Return the transaction for the bus; it commits `offset` for `group`."""
        letters = [reject.record() for reject in self.rejects]
        records = {topics.publish: self.outputs, topics.ingest: self.forwarded, topics.dead_letter: letters}
        made = Transaction({topic: found for topic, found in records.items() if found})
        made.commit_offset(group, position, offset)
        return made

    def _add(self, record: Record, step_timer: StepTimer | None) -> None:
        routed = self._router.route(record)
        if isinstance(routed, Refused):
            self._refuse(record, routed)
            return
        provenance = routed[0]
        if routed[3] is None and routed[4] is None:
            pipelines: Sequence[Pipeline] = self._selection.of(provenance[: provenance.find(b" ")])
        else:
            pipelines = self._router.pipelines(routed, record.timestamp)
        if self._gate is not None and pipelines:
            pipelines = self._gate.admitted(pipelines, record.offset, routed[4], routed[3])
            if not pipelines:
                return
        if len(pipelines) == 1:
            if self._may_be_fast:
                self._fast = fast_path_of(routed, pipelines[0], self._event_limit, self._poison.last_known)
                self._may_be_fast = self._fast is None
            self.keep(record, provenance, pipelines[0], self._result(pipelines[0], record, routed, step_timer))
            return
        if not pipelines:
            self._unclaimed(record, routed)
        # All results before any is kept: where one pipeline has to wait for something, the record comes again.
        for pipeline, result in [(one, self._result(one, record, routed, step_timer)) for one in pipelines]:
            self.keep(record, provenance, pipeline, result)

    async def _finish(self, plan: Plan, scope: Scope) -> None:
        record, routed = plan.record, plan.routed
        if isinstance(routed, Refused):
            self._refuse(record, routed)
            return
        if plan.skipped:
            return
        if not plan.pipelines:
            self._unclaimed(record, routed)
        if scope.state is not None:
            scope.state.at_record(record.key or b"", record.timestamp, routed[0])
        if self._selection.stateful:
            results = await finish(plan, routed, scope, self._result, self._checked)
        else:
            results = finish_stateless(plan, routed, self._result, self._checked)
        for pipeline, result in results:
            self.keep(record, routed[0], pipeline, result)

    async def add_due(self, scope: Scope, offset: int) -> None:
        """Add the results that the time has made due; `offset` is that of the record before, for their dead letters.

        Raises:
            Unavailable: a step waits for something; the results of its pipeline come again, those of others are added.
        """
        async for pipeline, made in run_due(self._selection.pipelines, scope, self._gate, self._checked):
            self._add_due(pipeline, made, scope.partition, offset)

    def _add_due(self, pipeline: Pipeline, made: Sequence[MadeDue], place: TopicPartition, offset: int) -> None:
        origin = f"{place.topic}/{place.partition}/{offset}"
        for due, value, result in made:
            tally = self.tallies[pipeline.name]
            if not isinstance(result, Rejected):
                self._output(tally, self._forward(result, pipeline, place.partition, offset))
                continue
            tally.rejected += 1
            identity = due.draft.attribute("id") or origin
            self._append_reject(reject_of_result(identity, value, str(result), origin, pipeline.label, due.headers))

    def _result(
        self, pipeline: Pipeline, record: Record, routed: Routed, step_timer: StepTimer | None = None
    ) -> Result:
        _, headers, spliced, _, part = routed
        on_step = step_timer and step_timer(pipeline)
        try:
            outputs = pipeline.run(record.value or b"", headers, on_step, spliced=spliced, part=part)
        except Rejected as exc:
            return exc
        return self._checked(outputs)

    def _refuse(self, record: Record, refused: Refused) -> None:
        if self._is_new(record):
            self._not_run = self._not_run if refused.attempted else record.offset
            self._reject(record, refused.error, refused.provenance)

    def _is_new(self, record: Record) -> bool:
        """Return whether the record was not processed before a rewind: then its dead letter exists."""
        return self._gate is None or self._gate.is_new(record.offset)

    def _unclaimed(self, record: Record, routed: Routed) -> None:
        if self._is_new(record):
            self._reject(record, why_unclaimed(routed), routed[0])

    def _note_run(self) -> None:
        if self.last != self._not_run:
            self._poison.attempts.ran(self.last)

    def _added(self, records: Sequence[Record], done: int) -> None:
        """Note that the first `done` of these records were added."""
        if done:
            self.first = self.first if self.count else records[0].offset
            self.last = records[done - 1].offset
            self.count += done

    def keep(self, record: Record, provenance: bytes, pipeline: Pipeline, result: Result) -> None:
        """Add what a pipeline made of a record."""
        tally = self.tallies[pipeline.name]
        if pipeline.parts == 1 or (part := part_in(record.headers)) is None:
            tally.taken += 1
        else:
            tally.continued[part.number] += 1
        if pipeline.shadowed:
            self.shadowed.append(Shadowed(pipeline.name, pipeline.version, record, result))
        if isinstance(result, Rejected):
            tally.rejected += 1
            self._timed_out = self._timed_out or result.timed_out
            self._reject(record, str(result), provenance, pipeline.label)
            return
        if pipeline.parts > 1:
            result = self._forward(result, pipeline, record.partition, record.offset)
        self._output(tally, result)

    def _output(self, tally: Tally, outputs: list[Outgoing]) -> None:
        tally.published += len(outputs)
        self.outputs += outputs
        for output in outputs:
            self.size += len(output[1] or b"")

    def _forward(self, outputs: list[Outgoing], pipeline: Pipeline, partition: int, offset: int) -> list[Outgoing]:
        """Keep the events for the next part of a pipeline, and return those for subscribers."""
        generation = 0 if self._gate is None else self._gate.generation(pipeline.name)
        published, forwarded = parted(outputs, self.tallies[pipeline.name], generation, partition, offset)
        self.forwarded += forwarded
        self.size += sum(len(each.value or b"") for each in forwarded)
        return published

    def _reject(self, record: Record, error: str, provenance: bytes | None, pipeline: str = "") -> None:
        attempts = self._poison.attempts.before(record.offset) + (record.offset != self._not_run)
        reject = reject_of(record, error, provenance, pipeline, attempts, self.rewinds(pipeline))
        self._append_reject(fitting(reject, truncated=self._poison.is_truncated(record.offset)))

    def _append_reject(self, reject: Reject) -> None:
        self.rejects.append(reject)
        self.size += len(reject.value)
        self.unclaimed += not reject.pipeline
