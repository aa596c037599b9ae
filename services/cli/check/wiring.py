"""Checks that sources and pipelines fit together. No I/O."""

import difflib
import re
from collections.abc import Iterator, Mapping

from services.process_api.pipeline.pipeline import PipelineOptions
from services.process_api.pipeline.steps.flow.emit import EmitOptions
from services.process_api.pipeline.steps.route import RouteOptions
from services.system_api.sources.registry import AnySource
from shared.settings import Finding


def faults(sources: Mapping[str, AnySource], pipelines: Mapping[str, PipelineOptions]) -> list[Finding]:
    """Return a fault for each setting that dead-letters events, or leaves a pipeline without any.

    Settings whose counterpart may be in another file are warnings instead.
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


def warnings(sources: Mapping[str, AnySource], pipelines: Mapping[str, PipelineOptions]) -> list[Finding]:
    """Return a warning for each setting that works only if another file has its counterpart."""
    found = [] if sources else _without_channel(pipelines)
    return found if pipelines else _without_pipeline(sources, pipelines)


def _without_channel(pipelines: Mapping[str, PipelineOptions]) -> list[Finding]:
    return [
        Finding(
            ("process", "pipelines", name),
            "found neither a `channel` nor a step `route`, so its events reach no subscriber; add one of them",
        )
        for name, options in pipelines.items()
        if options.channel is None
        and not any(isinstance(each, RouteOptions | EmitOptions) for step in options.steps for each in step.all_steps())
    ]


def _without_pipeline(sources: Mapping[str, AnySource], pipelines: Mapping[str, PipelineOptions]) -> list[Finding]:
    taken = [_pattern(name) for options in pipelines.values() for name in options.sources]
    return [
        Finding(
            ("system", "sources", name),
            "found no `channel`, and no pipeline that takes its events; add one of them",
        )
        for name, options in sources.items()
        if options.channel is None and not any(pattern.fullmatch(name) for pattern in taken)
    ]


def _faults(name: str, sources: Mapping[str, AnySource]) -> Iterator[str]:
    pattern = _pattern(name)
    matching = [source for source in sources if pattern.fullmatch(source)]
    if not matching:
        close = difflib.get_close_matches(name, sources, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"expected one of: {', '.join(sources)}"
        yield f"found no source {name!r}; {hint}"
    elif all(sources[source].channel is not None for source in matching):
        yield f"source {matching[0]!r} has a channel, so its events go to subscribers directly, not through a pipeline"


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(re.escape(name).replace(r"\*", ".*"))
