"""`trelay test`: runs the examples that are kept beside the pipelines."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import click

from services.cli.configuration import config_option
from services.cli.pipelines import junit
from services.cli.pipelines.examples import Example, ExampleFile, difference
from services.process_api.dry_run import DryRun, event_sample
from services.process_api.pipeline.pipeline import Pipeline, PipelineOptions
from services.process_api.settings import ProcessSettings
from shared.errors import SettingsError, Unavailable
from shared.settings import load

_PATTERN = "*.test.yaml"


@click.command("test", short_help="Run the examples kept beside the pipelines.")
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path, dir_okay=False))
@click.option("-k", "--name", "wanted", default="", metavar="TEXT", help="Only the examples whose names contain TEXT.")
@click.option("--junit", "report", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Also write the outcomes to FILE, as JUnit's XML.")  # fmt: skip
@config_option
def test(files: tuple[Path, ...], *, wanted: str, report: Path | None, config: Path) -> int:
    """Run examples: given events, the pipeline must publish the expected events and dead letters.

    FILE holds examples; the default is every *.test.yaml in the folder of the settings file. Nothing is published;
    steps that ask other systems do ask them. Exit status: 0, all agree; 1, one differs; 2, a file is wrong.

    \b
    Example: orders.test.yaml
      tests:
        - name: open orders go to the channel of their region
          pipeline: orders
          given: [{data: {status: open, region: eu}}]
          expect: [{channel: orders.eu, data: {status: open, region: eu}}]
        - name: an order without a status is a dead letter
          pipeline: orders
          given: [{data: {}}]
          dead_letters: ["steps.0.validate: *"]
    """  # noqa: D301 -- click's mark against rewrapping
    found = files or sorted(config.resolve().parent.glob(_PATTERN))
    if not found:
        raise SettingsError(f"{config.resolve().parent}: found no {_PATTERN}; expected one, or FILE")
    outcomes = [outcome for file in found for outcome in _run_file(file, config, wanted)]
    if not outcomes:
        raise SettingsError(f"no example has a name that contains {wanted!r}")
    failed = sum(bool(outcome.failure) for outcome in outcomes)
    click.echo(f"{len(outcomes) - failed} passed, {failed} failed")
    if report is not None:
        report.write_bytes(junit.document(outcomes))
    return 1 if failed else 0


def _run_file(file: Path, config: Path, wanted: str) -> list[junit.Outcome]:
    loaded = load(file, ExampleFile)
    settings = config if loaded.config is None else loaded.config
    pipelines = load(settings, ProcessSettings).process.pipelines
    outcomes = []
    for number, example in enumerate(loaded.tests):
        if wanted not in example.name:
            continue
        if example.pipeline not in pipelines:
            known = ", ".join(pipelines) or "none"
            raise SettingsError(
                f"{file}: tests.{number}.pipeline: {settings} has no {example.pipeline!r}; it has: {known}"
            )
        began = time.perf_counter()
        failure = asyncio.run(_failure(example, pipelines, settings))
        outcomes.append(junit.Outcome(str(file), example.name, failure, time.perf_counter() - began))
        click.echo(f"{'FAILED' if failure else 'ok':<7}{file}: {example.name}")
        if failure:
            click.echo("\n".join(f"       {line}" for line in failure.splitlines()))
    return outcomes


async def _failure(example: Example, pipelines: Mapping[str, PipelineOptions], settings: Path) -> str:
    """Run one example; return how it fails, empty where it passes."""
    try:
        pipeline = Pipeline(example.pipeline, pipelines[example.pipeline])
    except ValueError as exc:
        raise SettingsError(f"{settings}: process.pipelines.{example.pipeline}: {exc}") from exc
    run = DryRun(pipeline)
    try:
        results = [await run.run(event_sample(given, number)) for number, given in enumerate(example.given, 1)]
    except Unavailable as exc:
        return str(exc)
    finally:
        await pipeline.close()
    return difference(example, results)
