"""Whether sections fit together: the sources, and the pipelines that take their events. No I/O."""

import difflib
import re
from collections.abc import Iterator, Mapping

from services.process_api.pipeline import PipelineOptions
from services.system_api.build import AnySource


def faults(sources: Mapping[str, AnySource], pipelines: Mapping[str, PipelineOptions]) -> list[str]:
    """Return a line for each name of a source in a pipeline that gives it no events.

    None where no sources are declared: they are in another deployment's file then.
    """
    return [
        f"process.pipelines.{pipeline}.sources.{number}: {fault}"
        for pipeline, options in pipelines.items()
        for number, name in enumerate(options.sources)
        for fault in (_faults(name, sources) if sources else ())
    ]


def _faults(name: str, sources: Mapping[str, AnySource]) -> Iterator[str]:
    pattern = re.compile(re.escape(name).replace(r"\*", ".*"))
    meant = [source for source in sources if pattern.fullmatch(source)]
    if not meant:
        close = difflib.get_close_matches(name, sources, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(sources)}"
        yield f"no source is called {name!r}; {hint}"
    elif all(sources[source].channel is not None for source in meant):
        yield f"source {meant[0]!r} has a channel, so its events go to the subscribers and to no pipeline"
