"""`trelay eval`: an expression or a pipeline on sample events."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from services.cli.configuration import config_option
from services.process_api.dry_run import DryRun, Sample, entity_sample
from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.pipeline import Pipeline
from services.process_api.settings import ProcessSettings
from shared.errors import Malformed, SettingsError, Unavailable
from shared.events import strict_json
from shared.expression.expression import Expression
from shared.expression.settings import check_expression
from shared.settings import load

_STANDARD_INPUT = "-"
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@click.command("eval", short_help="Try an expression or a pipeline on sample events.")
@click.argument("arguments", nargs=-1, metavar="[EXPRESSION] [FILE]")
@click.option("-p", "--pipeline", metavar="NAME", help="Run this pipeline of the settings file, not an expression.")
@config_option
def evaluate(arguments: tuple[str, ...], *, pipeline: str | None, config: Path) -> int:
    """Try an expression, or a pipeline of the settings file, on sample events.

    FILE holds one JSON value a line: an event (an object with `specversion`), or the entity of one. Without FILE,
    standard input is read. Nothing is published; steps that ask other systems do ask them.

    An expression prints one line for each event: its value as JSON, or `undefined`. A pipeline prints the events that
    it publishes. Errors name the line, on standard error. Exit status: 0, done; 1, an event failed; 2, wrong usage.

    \b
    Examples:
      echo '{"lines": [{"price": 2}, {"price": 5}]}' | trelay eval '$sum(lines.price)'
      trelay eval --pipeline orders --config trelay.yaml samples.ndjson
    """  # noqa: D301 -- click's mark against rewrapping
    *expressions, file = arguments if len(arguments) > (pipeline is None) else (*arguments, _STANDARD_INPUT)
    if len(expressions) != (pipeline is None):
        expected = "an expression, or --pipeline NAME," if pipeline is None else "--pipeline NAME alone"
        raise click.UsageError(f"expected {expected} and at most one file")
    if pipeline is not None:
        return asyncio.run(_run_pipeline(_pipeline(config, pipeline), file))
    try:
        check_expression(expressions[0])
        expression = Expression(expressions[0])
    except ValueError as exc:
        raise click.UsageError(f"the expression: {exc}") from exc
    return _run_expression(expression, file)


def _run_expression(expression: Expression, file: str) -> int:
    failed = 0
    for number, text in _lines(file):
        try:
            sample = _sample(text, number)
            found = expression.value(Draft(sample.value, spliced=bool(sample.headers)))
        except Malformed as exc:
            click.echo(f"line {number}: {exc}", err=True)
            failed = 1
        else:
            click.echo("undefined" if found is None else found.decode())
    return failed


async def _run_pipeline(pipeline: Pipeline, file: str) -> int:
    failed = 0
    run = DryRun(pipeline)
    try:
        for number, text in _lines(file):
            try:
                events, dead_letters = await run.run(_sample(text, number))
            except (Malformed, Unavailable) as exc:
                click.echo(f"line {number}: {exc}", err=True)
                failed = 1
                continue
            for event in events:
                click.echo(event.value)
            for letter in dead_letters:
                click.echo(f"line {number}: dead letter: {letter.error}", err=True)
                failed = 1
    finally:
        await pipeline.close()
    return failed


def _pipeline(config: Path, name: str) -> Pipeline:
    """Return a pipeline of the settings file.

    Raises:
        SettingsError: the file is wrong, or has no such pipeline.
    """
    options = load(config, ProcessSettings).process.pipelines
    if name not in options:
        known = ", ".join(options) or "none"
        raise SettingsError(f"{config}: there is no pipeline {name!r}; the file has: {known}")
    try:
        return Pipeline(name, options[name])
    except ValueError as exc:
        raise SettingsError(f"{config}: process.pipelines.{name}: {exc}") from exc


def _lines(file: str) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file that are not blank, with their numbers.

    Raises:
        SettingsError: the file cannot be read.
    """
    try:
        stream = sys.stdin.buffer if file == _STANDARD_INPUT else Path(file).open("rb")  # noqa: SIM115 -- closed below
    except OSError as exc:
        raise SettingsError(f"{file}: the file cannot be read: {exc.strerror}") from exc
    with stream:
        for number, line in enumerate(stream, 1):
            if text := line.strip():
                yield number, text


def _sample(text: bytes, number: int) -> Sample:
    """Return the event of a line, or one around the entity of a line.

    Raises:
        Malformed: the line breaks the rule of events, which every source checks.
    """
    if _is_event(text):
        strict_json.check(text, strict_json.EVENT_LEVELS)
        return Sample(text, (), number)
    strict_json.check(text)
    return entity_sample(text, number)


def _is_event(text: bytes) -> bool:
    try:
        return "specversion" in _members(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
