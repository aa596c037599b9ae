"""`trelay test`: runs the examples that are kept beside the pipelines."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import click

from services.cli.configuration import config_option
from services.cli.pipelines import junit, playing
from services.cli.pipelines.examples import Example, ExampleFile
from services.cli.pipelines.mocks import Mocks
from services.process_api.pipeline.pipeline import PipelineOptions
from services.process_api.settings import ProcessSettings
from shared.errors import SettingsError
from shared.settings import load

_PATTERN = "*.test.yaml"


@click.command("test", short_help="Run the examples kept beside the pipelines.")
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path, dir_okay=False))
@click.option("-k", "--name", "wanted", default="", metavar="TEXT", help="Only the examples whose names contain TEXT.")
@click.option("--junit", "report", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Also write the outcomes to FILE, as JUnit's XML.")  # fmt: skip
@click.option("--live", is_flag=True, help="Ask the other systems for what no mock answers.")
@config_option
def test(files: tuple[Path, ...], *, wanted: str, report: Path | None, live: bool, config: Path) -> int:
    """Run examples: given events, the pipeline must publish the expected events and dead letters.

    FILE holds examples; the default is every *.test.yaml in the folder of the settings file. Nothing is published.
    Look-ups and calls get the answers of `mocks`; one without an answer fails its example, and asks nobody.
    Exit status: 0, all agree; 1, one differs; 2, a file is wrong.

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
        - name: the score is that of the API, at the second attempt
          pipeline: orders
          given: [{data: {status: open, region: eu}}]
          mocks: [{step: call, url: "https://fraud.example/*", answers: [{status: 503}, {value: {score: 0.2}}]}]
          expect: [{data: {status: open, region: eu, score: 0.2}}]
    """  # noqa: D301 -- click's mark against rewrapping
    found = files or sorted(config.resolve().parent.glob(_PATTERN))
    if not found:
        raise SettingsError(f"{config.resolve().parent}: found no {_PATTERN}; expected one, or FILE")
    outcomes = [outcome for file in found for outcome in _run_file(file, config, wanted, live=live)]
    if not outcomes:
        raise SettingsError(f"no example has a name that contains {wanted!r}")
    failed = sum(bool(outcome.failure) for outcome in outcomes)
    click.echo(f"{len(outcomes) - failed} passed, {failed} failed")
    if report is not None:
        report.write_bytes(junit.document(outcomes))
    return 1 if failed else 0


def _run_file(file: Path, config: Path, wanted: str, *, live: bool) -> list[junit.Outcome]:
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
        failure = asyncio.run(_failure(example, pipelines, settings, Mocks(example.mocks, loaded.mocks, live=live)))
        outcomes.append(junit.Outcome(str(file), example.name, failure, time.perf_counter() - began))
        click.echo(f"{'FAILED' if failure else 'ok':<7}{file}: {example.name}")
        if failure:
            click.echo("\n".join(f"       {line}" for line in failure.splitlines()))
    return outcomes


async def _failure(example: Example, pipelines: Mapping[str, PipelineOptions], settings: Path, mocks: Mocks) -> str:
    try:
        return await playing.failure(example, pipelines[example.pipeline], mocks)
    except ValueError as exc:
        raise SettingsError(f"{settings}: process.pipelines.{example.pipeline}: {exc}") from exc
