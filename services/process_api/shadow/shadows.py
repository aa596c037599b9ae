"""The shadows of a replica: queues what the pipelines made, lets the process of the shadows run it, and counts.

Nothing here delays a pipeline. What became visible is queued, within a limit; beyond it, it is dropped and counted.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from services.process_api.pipeline.pipeline import PipelineOptions
from services.process_api.pipeline.steps.outcome import Rejected
from services.process_api.shadow.messages import Given, Result, Verdict
from services.process_api.shadow.process import ShadowProcess
from services.process_api.worker.batch import Batch
from services.process_api.worker.outputs import Shadowed
from shared.errors import Unavailable
from shared.runtime.clock import Clock, rfc3339

logger = logging.getLogger(__name__)

_MOST_EVENTS = 2000
_MOST_BYTES = 16 * 1024**2
"""Of the events that wait for their shadow: about 2 s of a fast shadow."""

RATE = 500.0
"""Events a second that are compared at most: each takes a round trip to the process, 0.1 ms of CPU."""

_SLICE = 25
"""Events between two pauses that keep to the rate."""

_PAUSE = 5.0
"""Seconds until a process that did not start is started again."""

_LOG_INTERVAL = 60.0
"""Seconds between two log lines about the differences of one pipeline."""

Count = Callable[[str, Result], None]
"""Counts an event of a pipeline."""


class Runs(Protocol):
    """A process that runs shadows; see `ShadowProcess`."""

    async def judge(self, given: Given, timeout: float) -> Verdict: ...
    async def end(self) -> int: ...


class Starts(Protocol):
    """Starts such a process."""

    async def __call__(self, options: Mapping[str, PipelineOptions]) -> Runs: ...


class Shadows:
    """All shadows of one replica."""

    def __init__(self, count: Count, clock: Clock, start: Starts = ShadowProcess.started) -> None:
        self._count = count
        self._clock = clock
        self._start = start
        self._options: dict[str, PipelineOptions] = {}
        self._versions: dict[str, str] = {}
        """Of the pipelines that have a shadow."""
        self._records: dict[str, _Records] = {}
        self._waiting: deque[Given] = deque()
        self._bytes = 0
        self._wanted = asyncio.Event()
        self._process: Runs | None = None
        self._outdated = False

    def replace(self, pipelines: Mapping[str, PipelineOptions]) -> None:
        """Run the shadows of these pipelines from now on.

        Where both versions stay as they are, the counts and the differences are kept.
        """
        before, versions = self._options, self._versions
        self._options = {name: _shadow_of(options) for name, options in pipelines.items() if options.shadow is not None}
        self._versions = {name: pipelines[name].version for name in self._options}
        changed = {
            name for name in before if self._options.get(name) != before[name] or self._versions[name] != versions[name]
        }
        for name in changed:
            self._records.pop(name, None)
        for name, options in pipelines.items():
            if options.shadow is not None:
                record = self._records.setdefault(name, _Records(options.shadow.keep))
                record.timeout = options.shadow.timeout
                record.version = self._options[name].version
        self._outdated = self._outdated or self._options != before
        # What waits was made by the pipelines before.
        self._waiting = deque(given for given in self._waiting if given.pipeline not in changed)
        self._bytes = sum(len(given.value) for given in self._waiting)

    def offer(self, batch: Batch) -> None:
        """Queue what pipelines with a shadow made; returns at once."""
        for shadowed in batch.shadowed:
            if self._versions.get(shadowed.pipeline) != shadowed.version:
                continue  # the pipeline was replaced while this batch was committed
            size = len(shadowed.record.value or b"")
            if len(self._waiting) >= _MOST_EVENTS or self._bytes + size > _MOST_BYTES:
                self._tally(shadowed.pipeline, Result.DROPPED)
                continue
            self._waiting.append(_given(shadowed))
            self._bytes += size
        self._wanted.set()

    def shown(self, pipeline: str) -> dict[str, Any] | None:
        """Return the counts and the newest differences of a shadow on this replica; None where there is none."""
        found = self._records.get(pipeline)
        return None if found is None else found.shown()

    async def run(self) -> None:
        """Run what is queued; without end. No error of a shadow passes."""
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                while self._waiting:
                    began = self._clock.monotonic()
                    for _ in range(_SLICE):
                        if not self._waiting:  # `replace` may have taken the others away
                            break
                        given = self._waiting.popleft()
                        self._bytes -= len(given.value)
                        await self._compare(given)
                    await self._clock.sleep(max(0.0, _SLICE / RATE - (self._clock.monotonic() - began)))
        finally:
            await self._end()

    async def _compare(self, given: Given) -> None:
        record = self._records[given.pipeline]
        verdict = await self._judged(given, record.timeout)
        if self._records.get(given.pipeline) is record:  # else it was replaced meanwhile
            self._note(given, verdict)

    async def _judged(self, given: Given, timeout: float) -> Verdict:
        try:
            if self._outdated:
                await self._end()
                self._outdated = False
            if self._process is None:
                self._process = await self._start(self._options)
            return await self._process.judge(given, timeout)
        except TimeoutError:
            await self._end()
            return Verdict(Result.FAILED, (), f"no result within {timeout:g} s")
        except EOFError:
            return Verdict(Result.FAILED, (), f"the process of the shadow ended with {await self._end()}")
        except Unavailable as exc:
            await self._clock.sleep(_PAUSE)
            return Verdict(Result.FAILED, (), str(exc))
        except Exception as exc:  # a bug here must not end the service
            logger.exception("shadow failed", extra={"pipeline": given.pipeline})
            await self._end()
            return Verdict(Result.FAILED, (), f"{type(exc).__name__}: {exc}")

    async def _end(self) -> int | None:
        process, self._process = self._process, None
        return None if process is None else await process.end()

    def _tally(self, pipeline: str, result: Result) -> None:
        self._count(pipeline, result)
        if (record := self._records.get(pipeline)) is not None:
            record.counts[result] += 1

    def _note(self, given: Given, verdict: Verdict) -> None:
        self._tally(given.pipeline, verdict.result)
        record = self._records[given.pipeline]
        if verdict.result in {Result.SAME, Result.DROPPED}:
            return
        record.add(given, verdict, self._clock.time())
        now = self._clock.monotonic()
        if record.logged_at is None or now - record.logged_at >= _LOG_INTERVAL:
            record.logged_at = now
            place = f"{given.topic}/{given.partition}/{given.offset}"
            fields = {"result": verdict.result.value, "first": place, "error": verdict.error}
            logger.warning("shadow differs", extra={"component": "shadow", "pipeline": given.pipeline, **fields})


class _Records:
    """What is known of the results of one shadow."""

    def __init__(self, keep: int) -> None:
        self.timeout = 0.0
        self.version = ""
        self.counts: Counter[Result] = Counter()
        self.logged_at: float | None = None
        self._differences: deque[dict[str, Any]] = deque(maxlen=keep)

    def add(self, given: Given, verdict: Verdict, at: float) -> None:
        self._differences.append(
            {
                "time": rfc3339(at),
                "result": verdict.result.value,
                "place": f"{given.topic}/{given.partition}/{given.offset}",
                "error": verdict.error or None,
                "old": None if given.old is None else [msgspec.Raw(value) for _, value in given.old],
                "new": [msgspec.Raw(value) for _, value in verdict.new],
            }
        )

    def shown(self) -> dict[str, Any]:
        return {
            "version": self.version,
            "results": {result.value: self.counts[result] for result in Result},
            "differences": list(self._differences),
        }


def _shadow_of(options: PipelineOptions) -> PipelineOptions:
    """Return the new version as a pipeline."""
    shadow = options.shadow
    assert shadow is not None, "it has one"
    changed = {"channel": shadow.channel or options.channel, "steps": shadow.steps, "shadow": None}
    return options.model_copy(update=changed)


def _given(shadowed: Shadowed) -> Given:
    record, result = shadowed.record, shadowed.result
    old = None if isinstance(result, Rejected) else [(event.key, event.value or b"") for event in result]
    headers = [(name, bytes(value or b"")) for name, value in record.headers]  # another program may write none
    place = (record.topic, record.partition, record.offset, record.timestamp, record.key)
    return Given(shadowed.pipeline, bytes(record.value or b""), headers, *place, old)
