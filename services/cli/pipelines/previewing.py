"""`trelay preview`: the newest real events through a pipeline of the settings file, beside what was published."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeAlias

import click

from services.cli.configuration import config_option
from services.cli.pipelines.comparing import Compared, Kind, by_provenance, decoded, kind_of, on_channels
from services.cli.pipelines.mocks import Mock, Mocks
from services.cli.pipelines.tail import Tail
from services.process_api.dry_run import DryRun, EventClock, Sample
from services.process_api.pipeline.part import part_in
from services.process_api.pipeline.pipeline import Pipeline, PipelineOptions
from services.process_api.pipeline.selection import Selection
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.outcome import Blocked
from services.process_api.settings import ProcessSettings
from services.process_api.worker.poison import PoisonTracker
from services.process_api.worker.routing import Refused, Router, id_of, source_of
from shared.bus.connect import connect
from shared.bus.protocol import Bus, Outgoing, Record, TopicPartition
from shared.bus.topics import TopicsOptions
from shared.errors import SettingsError, Unavailable
from shared.events.dead_letter import Reject
from shared.events.headers import packed_provenance
from shared.runtime.clock import SYSTEM_CLOCK
from shared.settings import Options, load

_CONNECT_SECONDS = 15.0


Made: TypeAlias = list[Outgoing] | Reject | Blocked
"""What becomes of an event: the events that it becomes, a dead letter, or a step that waits."""


class MockFile(Options):
    """The file of `--mocks`."""

    mocks: list[Mock]
    """Answers for look-ups and calls, as in a file of examples."""


@click.command("preview", short_help="See what a pipeline would publish, on real events.")
@click.option("-p", "--pipeline", "name", required=True, metavar="NAME", help="A pipeline of the settings file.")
@click.option("--last", default=100, show_default=True, type=click.IntRange(1, 10_000), help="How many events.")
@click.option("--source", metavar="NAME", help="Only events of this source.")
@click.option("--mocks", "answers", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Answers for look-ups and calls: YAML with `mocks`, as for `trelay test`.")  # fmt: skip
@click.option("--live", is_flag=True, help="Ask other systems for look-ups; no request but GET is sent.")
@click.option("--all", "show_all", is_flag=True, help="Print the events of which nothing changes as well.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line for each event.")
@config_option
def preview(  # noqa: PLR0913 -- one for each option
    *,
    name: str,
    last: int,
    source: str | None,
    answers: Path | None,
    live: bool,
    show_all: bool,
    as_json: bool,
    config: Path,
) -> int:
    """Run the newest events of the ingest topic through a pipeline of the settings file, and write nothing.

    Each event is compared with what was published for it: = same, ~ changed, + published only now, - not published any
    more, * nothing to compare with, ! dead letter, ? waits for another system. No group is joined and no offset is
    committed. Exit status: 0, nothing would change; 1, something would.

    \b
    Example:
      trelay preview --pipeline orders --last 100 --config changed.yaml
    """  # noqa: D301 -- click's mark against rewrapping
    settings = load(config, ProcessSettings)
    options = settings.process.pipelines
    if name not in options:
        raise SettingsError(f"{config}: there is no pipeline {name!r}; the file has: {', '.join(options) or 'none'}")
    mocks = [] if answers is None else load(answers, MockFile).mocks
    found = asyncio.run(_compared(settings, name, last, source, Mocks(mocks, live=live, only_reads=True)))
    for each in found:
        if as_json:
            click.echo(json.dumps(each._asdict(), ensure_ascii=False))
        elif show_all or each.kind is not Kind.SAME:
            click.echo("\n".join(each.lines()))
    counts = Counter(each.kind for each in found)
    said = ", ".join(f"{counts[kind]} {kind.value}" for kind in Kind if counts[kind])
    click.echo(f"{len(found)} events{said and f': {said}'}; nothing was written", err=as_json)
    return 0 if set(counts) <= {Kind.SAME} else 1


async def _compared(
    settings: ProcessSettings, name: str, last: int, source: str | None, mocks: Mocks
) -> list[Compared]:
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                bus = await stack.enter_async_context(connect(settings.bus, settings.database))
        except TimeoutError as exc:
            raise Unavailable(f"bus: no connection within {_CONNECT_SECONDS:g} s (see `bus`)") from exc
        previewed = Previewed(bus, settings.bus.topics, name, settings.process.pipelines, mocks)
        stack.push_async_callback(previewed.close)
        return await previewed.compare(last, source)


class Previewed:
    """One pipeline on the newest events."""

    def __init__(
        self, bus: Bus, topics: TopicsOptions, name: str, pipelines: dict[str, PipelineOptions], mocks: Mocks
    ) -> None:
        """Build the pipeline `name`.

        Raises:
            SettingsError: a function cannot be imported.
        """
        self._bus, self._topics = bus, topics
        clock = EventClock()
        steps_clock = SYSTEM_CLOCK if mocks.live else clock
        context = StepContext(clock=steps_clock, rng=random.Random(0), answers=mocks)  # noqa: S311 -- waits of retries
        try:
            self._pipeline = Pipeline(name, pipelines[name], context)
        except ValueError as exc:
            raise SettingsError(f"process.pipelines.{name}: {exc}") from exc
        self._run = DryRun(self._pipeline, clock)
        self._router = Router(Selection([(pipelines[name].sources, self._pipeline)]), PoisonTracker())
        self._others = [
            Selection([(each.sources, self._pipeline)]) for other, each in pipelines.items() if other != name
        ]
        """Which sources the other pipelines take."""

    async def close(self) -> None:
        """Close what the steps hold open."""
        await self._pipeline.close()

    async def compare(self, last: int, source: str | None = None) -> list[Compared]:
        """Run the pipeline on the `last` newest events that it takes, of one source if given.

        Raises:
            Unavailable: the bus does not answer.
        """
        tail = Tail(self._bus, SYSTEM_CLOCK)
        records = await tail.last(self._topics.ingest, last, lambda record: self._takes(record, source))
        if not records:
            return []
        results = [(record, await self._result(record)) for record in records]
        wanted = frozenset(one for record in records if (one := packed_provenance(record.headers)) is not None)
        begin = records[0].timestamp
        processed = await self._processed(tail, records, wanted, begin)  # before what is published: that has all of it
        found = await tail.since(
            self._topics.publish, begin, lambda record: packed_provenance(record.headers) in wanted
        )
        published = by_provenance((packed_provenance(record.headers) or b"", record) for record in found)
        own = frozenset(event.key for _, made in results if isinstance(made, list) for event in made)
        return [self._one(record, made, published, own, processed) for record, made in results]

    def _takes(self, record: Record, source: str | None) -> bool:
        routed = self._router.route(record)
        if isinstance(routed, Refused) or routed[4] is not None or not self._router.pipelines(routed):
            return False  # a record of a later part is made again from the event that it comes from
        return source is None or source_of(routed) == source.encode()

    async def _processed(
        self, tail: Tail, records: Sequence[Record], wanted: AbstractSet[bytes], begin: int
    ) -> frozenset[bytes]:
        """Return the provenance of the events that all parts of the pipeline have processed."""
        group, ingest = self._topics.process_group, self._topics.ingest
        done = {
            number: await self._bus.committed(group, TopicPartition(ingest, number)) or 0
            for number in await self._bus.bounds(ingest)
        }
        forwarded: list[Record] = []
        if self._pipeline.parts > 1:  # each wrote its events for the next part in the transaction of its input
            forwarded = await tail.since(ingest, begin, lambda record: self._is_forwarded(record, wanted))
        waiting = [each for each in (*records, *forwarded) if each.offset >= done[each.partition]]
        return frozenset(wanted) - {packed_provenance(each.headers) for each in waiting}

    def _is_forwarded(self, record: Record, wanted: AbstractSet[bytes]) -> bool:
        part = part_in(record.headers)
        own = part is not None and part.pipeline == self._pipeline.name
        return own and packed_provenance(record.headers) in wanted

    async def _result(self, record: Record) -> Made:
        place = (record.topic, record.partition, record.timestamp, record.key)
        try:
            made = await self._run.run(Sample(record.value or b"", record.headers, record.offset, *place))
        except Blocked as exc:
            return exc
        return made.dead_letters[0] if made.dead_letters else made.events

    def _one(
        self,
        record: Record,
        made: Made,
        published: Mapping[bytes, Sequence[Record]],
        own: frozenset[bytes],
        processed: AbstractSet[bytes | None],
    ) -> Compared:
        provenance = packed_provenance(record.headers)
        others = any(selection.of(self._source(record)) for selection in self._others)
        # What other pipelines make of the event has the same provenance: only the channels tell them apart.
        old = on_channels(published.get(provenance or b"", ()), own if others else None)
        place = f"{record.topic}/{record.partition}/{record.offset}"
        identity = id_of(provenance) or place
        if isinstance(made, Reject):
            return Compared(identity, place, Kind.DEAD_LETTER, decoded(old), (), made.error)
        if isinstance(made, Blocked):
            return Compared(identity, place, Kind.WAITS, (), (), str(made))
        new = [event.value or b"" for event in made]
        comparable = provenance in processed and not self._pipeline.stateful
        kind = kind_of(old, new, comparable=comparable)
        return Compared(identity, place, kind, decoded(old) if comparable else (), decoded(new))

    def _source(self, record: Record) -> bytes:
        routed = self._router.route(record)
        return b"" if isinstance(routed, Refused) else source_of(routed)
