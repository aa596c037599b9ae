"""Whether sections fit together: the sources, and the pipelines that take their events. No I/O."""

import difflib
import re
from collections.abc import Iterator, Mapping

from services.process_api.pipeline.pipeline import PipelineOptions
from services.process_api.pipeline.steps.route import RouteOptions
from services.system_api.sources.registry import AnySource
from shared.settings import Finding


def faults(sources: Mapping[str, AnySource], pipelines: Mapping[str, PipelineOptions]) -> list[Finding]:
    """Return each thing that makes events end as dead letters, or never come.

    What is in no section of this file may be in another deployment's: see `doubts`.
    """
    found = [
        Finding(("process", "pipelines", pipeline, "sources", number), fault)
        for pipeline, options in pipelines.items()
        for number, name in enumerate(options.sources)
        for fault in (_faults(name, sources) if sources else ())
    ]
    if sources:
        found += _without_channel(pipelines)
    if pipelines:
        found += _without_pipeline(sources, pipelines)
    return found


def doubts(sources: Mapping[str, AnySource], pipelines: Mapping[str, PipelineOptions]) -> list[Finding]:
    """Return each thing that is only right if another file, or another program, has the rest of it."""
    found = [] if sources else _without_channel(pipelines)
    return found if pipelines else _without_pipeline(sources, pipelines)


def _without_channel(pipelines: Mapping[str, PipelineOptions]) -> list[Finding]:
    return [
        Finding(
            ("process", "pipelines", name),
            "neither a channel nor a route, so that its events reach no subscriber;"
            " give it a `channel`, or a step `route`",
        )
        for name, options in pipelines.items()
        if options.channel is None and not any(isinstance(step, RouteOptions) for step in options.steps)
    ]


def _without_pipeline(sources: Mapping[str, AnySource], pipelines: Mapping[str, PipelineOptions]) -> list[Finding]:
    taken = [_pattern(name) for options in pipelines.values() for name in options.sources]
    return [
        Finding(
            ("system", "sources", name),
            "no channel, and no pipeline takes its events; give it a `channel`, or a pipeline",
        )
        for name, options in sources.items()
        if options.channel is None and not any(pattern.fullmatch(name) for pattern in taken)
    ]


def _faults(name: str, sources: Mapping[str, AnySource]) -> Iterator[str]:
    pattern = _pattern(name)
    meant = [source for source in sources if pattern.fullmatch(source)]
    if not meant:
        close = difflib.get_close_matches(name, sources, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(sources)}"
        yield f"no source is called {name!r}; {hint}"
    elif all(sources[source].channel is not None for source in meant):
        yield f"source {meant[0]!r} has a channel, so its events go to the subscribers and to no pipeline"


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(re.escape(name).replace(r"\*", ".*"))
