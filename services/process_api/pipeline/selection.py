"""Which pipelines take the events of a source."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager

from services.process_api.pipeline.pipeline import Pipeline

_CACHED_SOURCES = 10_000
"""Sources whose pipelines are cached. Other programs may write to the topic under any number of names."""


class Selection:
    """The pipelines of a deployment, by source."""

    def __init__(self, pipelines: Iterable[tuple[Sequence[str], Pipeline]]) -> None:
        """Each pipeline with its source set: names, in which `*` stands for any characters."""
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
