"""Checks pipelines before they run: for `trelay check`, and for the service when it starts."""

from collections.abc import Mapping

from services.process_api.pipeline.pipeline import Pipeline, PipelineOptions
from services.process_api.pipeline.selection import Selection
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.step import StepOptions
from shared.errors import SettingsError
from shared.expression import trial
from shared.settings import Finding, KeyPath


def faults(pipelines: Mapping[str, PipelineOptions]) -> list[Finding]:
    """Return what is wrong with each step: functions that cannot be imported, expressions that do not terminate.

    Imports the functions, and tries the expressions in a separate process: blocks for a tenth of a second, and for
    seconds for each expression that does not terminate. All other faults are found when the settings are read.
    """
    steps: list[tuple[KeyPath, StepOptions]] = [
        (("process", "pipelines", name, "steps", number), step)
        for name, options in pipelines.items()
        for number, step in enumerate(options.steps)
    ]
    steps += [
        (("process", "pipelines", name, "shadow", "steps", number), step)
        for name, options in pipelines.items()
        for number, step in enumerate(options.shadow.steps if options.shadow else ())
    ]
    expressions = {place: [text for inner in step.all_steps() for text in inner.expressions()] for place, step in steps}
    bad = trial.faults([text for texts in expressions.values() for text in texts])
    found = []
    for place, step in steps:
        errors = [bad[text] for text in expressions[place] if text in bad]
        try:
            if not errors:
                step.build(StepContext())
        except ValueError as exc:
            errors.append(str(exc))
        found += [Finding(place, error) for error in errors]
    return found


def build(pipelines: Mapping[str, PipelineOptions], context: StepContext | None = None) -> Selection:
    """Make the pipelines, for this thread; `context` holds what steps take from outside.

    Raises:
        SettingsError: a function cannot be imported.
    """
    made = []
    for name, options in pipelines.items():
        try:
            made.append((options.sources, Pipeline(name, options, context)))
        except ValueError as exc:
            raise SettingsError(f"process.pipelines.{name}: {exc}") from exc
    return Selection(made, None if context is None else context.clock.time)
