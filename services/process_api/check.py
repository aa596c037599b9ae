"""Whether pipelines can run, said before they do: what `trelay check` asks, and the service when it starts."""

from collections.abc import Mapping

from services.process_api.expression import trial
from services.process_api.pipeline import Pipeline, PipelineOptions
from services.process_api.selection import Selection
from services.process_api.steps.build import AnyOptions, build_step, expressions_of
from shared.errors import SettingsError
from shared.settings import Finding, KeyPath


def faults(pipelines: Mapping[str, PipelineOptions]) -> list[Finding]:
    """Return what is wrong with each step: functions that cannot be imported, expressions that run away.

    Imports the functions, and tries the expressions in a process of their own: blocks for a tenth of a second, and
    for seconds for each expression that runs away. What else can be wrong is found when settings are read.
    """
    steps: list[tuple[KeyPath, AnyOptions]] = [
        (("process", "pipelines", name, "steps", number), step)
        for name, options in pipelines.items()
        for number, step in enumerate(options.steps)
    ]
    bad = trial.faults([expression for _, step in steps for expression in expressions_of(step)])
    found = []
    for place, step in steps:
        said = [bad[expression] for expression in expressions_of(step) if expression in bad]
        try:
            if not said:
                build_step(step)
        except ValueError as exc:
            said.append(str(exc))
        found += [Finding(place, fault) for fault in said]
    return found


def build(pipelines: Mapping[str, PipelineOptions]) -> Selection:
    """Make the pipelines, for this thread.

    Raises:
        SettingsError: a function cannot be imported.
    """
    made = []
    for name, options in pipelines.items():
        try:
            made.append((options.sources, Pipeline(name, options)))
        except ValueError as exc:
            raise SettingsError(f"process.pipelines.{name}: {exc}") from exc
    return Selection(made)
