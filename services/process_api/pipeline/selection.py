"""Which pipelines take the events of a source."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager

from services.process_api.pipeline.part import Part
from services.process_api.pipeline.pipeline import Pipeline

_CACHED_SOURCES = 10_000
"""Sources whose pipelines are cached. Other programs may write to the topic under any number of names."""

_LOADING = 120.0
"""Seconds that an event between two parts of a pipeline waits until this replica has loaded the part: another one was
reloaded or updated before. Kubernetes takes up to a minute and a half until a changed file is in all pods."""


class Selection:
    """The pipelines of a deployment, by source."""

    def __init__(
        self, pipelines: Iterable[tuple[Sequence[str], Pipeline]], now: Callable[[], float] | None = None
    ) -> None:
        """Each pipeline with its source set: names, in which `*` stands for any characters.

        `now` returns seconds since 1970; without it, no event waits for a pipeline to be loaded.
        """
        self._now = now
        self._parts_before: dict[str, int] = {}
        self._pipelines = [(_pattern(sources), pipeline) for sources, pipeline in pipelines]
        self.waits = any(pipeline.waits for _, pipeline in self._pipelines)
        """Whether a step of a pipeline waits for something."""
        self.stateful = any(pipeline.stateful for _, pipeline in self._pipelines)
        """Whether a step of a pipeline keeps state."""
        self.quick = all(pipeline.quick for _, pipeline in self._pipelines)
        """Whether each pipeline can be run without waiting, as long as its steps know their answers."""
        self.divided = {pipeline.name: pipeline for _, pipeline in self._pipelines if pipeline.parts > 1}
        """The pipelines that a step `repartition` divides, by name."""
        self._found: dict[bytes, tuple[Pipeline, ...]] = {}
        self._uses = 0
        self._when_unused: list[Callable[[], None]] = []

    @property
    def pipelines(self) -> list[Pipeline]:
        return [pipeline for _, pipeline in self._pipelines]

    def of(self, source: bytes) -> tuple[Pipeline, ...]:
        """Return the pipelines that take a source's events, in the order of the settings; the name is in UTF-8."""
        found = self._found.get(source)
        if found is None:
            name = source.decode(errors="replace")
            found = tuple(pipeline for pattern, pipeline in self._pipelines if pattern.fullmatch(name))
            if len(self._found) >= _CACHED_SOURCES:
                self._found.clear()
            self._found[source] = found
        return found

    def replace(self, before: "Selection") -> None:
        """Note which pipelines ran before: a part that one of them had and this one has not is gone for good."""
        had = {name: pipeline.parts for name, pipeline in before.divided.items()}
        self._parts_before = {**before._parts_before, **had}  # noqa: SLF001 -- of the same class

    def may_load(self, part: Part, written: int) -> bool:
        """Return whether a part of a pipeline that is not there may be loaded in a moment.

        `written` is when the event was written to the bus that goes on in it, in milliseconds since 1970.
        """
        if self._now is None or part.number < self._parts_before.get(part.pipeline, 1):
            return False
        return self._now() - written / 1000 < _LOADING

    @contextmanager
    def used(self) -> Iterator[None]:
        """Note that a batch uses the pipelines, for as long as the context lasts."""
        self._uses += 1
        try:
            yield
        finally:
            self._uses -= 1
            self._note_unused()

    def when_unused(self, call: Callable[[], None]) -> None:
        """Call a function once no batch uses the pipelines; at once where none does."""
        self._when_unused.append(call)
        self._note_unused()

    def _note_unused(self) -> None:
        while self._when_unused and not self._uses:
            self._when_unused.pop()()

    async def close(self) -> None:
        """Close what the pipelines hold open. No batch may use them any more."""
        async with AsyncExitStack() as stack:
            for pipeline in reversed(self.pipelines):
                stack.push_async_callback(pipeline.close)


def _pattern(sources: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(source).replace(r"\*", ".*") for source in sources), re.DOTALL)
