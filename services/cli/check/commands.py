"""`trelay check` and `trelay schema`: validate settings files, and describe them for editors."""

import asyncio
import json
import os
import random
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import click

from services.cli.check import certificates, duplicates, exposure, untested, wiring
from services.cli.check.probing import Probe, outcomes
from services.process_api.pipeline.check import faults as pipeline_faults
from services.standalone.settings import WholeSettings
from services.system_api.sources.capabilities import Probing
from services.system_api.sources.http.polling.options import HttpSourceOptions
from services.system_api.sources.http.streaming.options import StreamOptions
from services.system_api.sources.http.trial import faults as expression_faults
from services.system_api.sources.http.webhook.options import WebhookSourceOptions
from services.system_api.sources.registry import AnySource, build_source
from shared.alerts import SmtpOptions
from shared.alerts.smtp import probe as probe_mail
from shared.bus.connect import BusOptions, connect
from shared.database.options import DatabaseOptions
from shared.database.pool import ConnectionPool
from shared.errors import SettingsError, TrelayError
from shared.runtime.clock import SYSTEM_CLOCK
from shared.settings import SECTIONS, Finding, Loaded, json_schema, load_placed, parse_placed

_INVALID = 2
_STDIN_LIMIT = 2 * 1_048_576
"""Bytes that are read from standard input: above the limit for settings, so that an endless stream is an error."""

_CONFIG = "TRELAY_CONFIG"
_STANDARD_INPUT = "-"


@click.command(short_help="Check settings files.")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("-c", "--config", multiple=True, metavar="FILE", help="A settings file, like FILE.")
@click.option("--live", is_flag=True, help="Also connect to the database, bus, sources and mail server.")
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=15.0, show_default=True, help="Seconds for each connection."
)
def check(files: tuple[str, ...], *, config: tuple[str, ...], live: bool, timeout: float) -> int:
    """Check each settings file: all sections, all faults at once, each with line and column.

    FILE is a settings file, or - for standard input; the default is the file that TRELAY_CONFIG names, else
    trelay.yaml.

    With --live, one line for each system that the file names tells whether it answers. Nothing is written, and no
    source is changed. Exit status: 0, valid, perhaps with warnings; 1, a system does not answer; 2, a file is invalid.

    \b
    Examples:
      trelay check trelay.yaml
      trelay check trelay.yaml --live
      trelay check system.yaml process.yaml
    """  # noqa: D301 -- click's mark against rewrapping
    named = [*files, *config] or [os.environ.get(_CONFIG) or "trelay.yaml"]
    return max(_check_file(file, timeout if live else None) for file in named)


def _check_file(file: str, timeout: float | None) -> int:
    """Check one file and return the exit status; with a timeout, connect to the systems that it names as well."""
    try:
        loaded = _load(file)
        warnings = _warnings_of(loaded)
    except SettingsError as exc:
        click.echo(exc, err=True)
        return _INVALID
    for warning in warnings:
        click.echo(warning, err=True)
    count = f", {len(warnings)} warning{'s' if len(warnings) > 1 else ''}" if warnings else ""
    click.echo(f"{loaded.name}: OK{count}")
    return 0 if timeout is None else asyncio.run(_probe(_probes(loaded.settings), timeout))


def _load(file: str) -> Loaded[WholeSettings]:
    if file != _STANDARD_INPUT:
        return load_placed(Path(file), WholeSettings)
    content = b"" if sys.stdin is None else sys.stdin.buffer.read(_STDIN_LIMIT)
    return parse_placed(content, WholeSettings, name="<stdin>", folder=Path.cwd())


def _warnings_of(loaded: Loaded[WholeSettings]) -> list[str]:
    """Return the warnings as lines.

    Raises:
        SettingsError: a line for each fault.
    """
    settings = loaded.settings
    sources, pipelines = settings.system.sources, settings.process.pipelines
    if loaded.empty:
        expected = f"expected at least one section: {', '.join(SECTIONS)} (`trelay schema` describes them)"
        raise SettingsError("\n".join(loaded.lines([Finding((), f"no settings; {expected}")])))
    faults = [
        *pipeline_faults(pipelines),
        *_expression_faults(sources),
        *wiring.faults(sources, pipelines),
        *certificates.faults(settings),
    ]
    if faults:
        raise SettingsError("\n".join(loaded.lines(faults)))
    found = [
        *wiring.warnings(sources, pipelines),
        *duplicates.warnings(sources),
        *exposure.warnings(settings),
        *untested.warnings(sources),
    ]
    return loaded.lines(found, "warning: ")


def _expression_faults(sources: Mapping[str, AnySource]) -> list[Finding]:
    """Return the expressions of sources that do not terminate."""
    kinds = HttpSourceOptions | StreamOptions | WebhookSourceOptions
    http = {name: options for name, options in sources.items() if isinstance(options, kinds)}
    return [
        fault
        for name, options in http.items()
        for fault in expression_faults(("system", "sources", name), options.expressions())
    ]


@click.command()
def schema() -> None:
    """Print the JSON Schema of the settings file, for editors.

    `trelay check` refuses every file that the schema refuses, and checks what a schema cannot express: rules about
    several keys, files and expressions.

    \b
    Example: in VS Code with the YAML extension, begin the file with
      # yaml-language-server: $schema=trelay.schema.json
    after
      trelay schema > trelay.schema.json
    """  # noqa: D301 -- as above
    click.echo(json.dumps(json_schema(WholeSettings), indent=2, ensure_ascii=False))


async def _probe(probes: dict[str, Probe], timeout: float) -> int:
    width = max(map(len, probes))
    failed = False
    async for outcome in outcomes(probes, timeout):
        click.echo(outcome.line(width))
        failed = failed or not outcome.works
    return 1 if failed else 0


def _probes(settings: WholeSettings) -> dict[str, Probe]:
    probes: dict[str, Probe] = {
        "database": partial(_database, settings.database),
        "bus": partial(_bus, settings.bus, settings.database),
    }
    for name, options in settings.system.sources.items():
        probes[f"source/{name}"] = partial(_source, name, options)
    if settings.alerts.smtp is not None:
        probes["mail"] = partial(_mail, settings.alerts.smtp)
    return probes


async def _database(options: DatabaseOptions) -> str:
    async with ConnectionPool.opened(options, size=1, purpose="check") as connections, connections.use() as connection:
        version = await connection.fetchval("SHOW server_version")
    return f"PostgreSQL {version} at {options.address.removeprefix('database ')}"


async def _bus(options: BusOptions, database: DatabaseOptions) -> str:
    async with connect(options, database) as bus:
        try:
            kept = await bus.bounds(options.topics.publish)
        except TrelayError as exc:
            return f"{options.kind}; {options.topics.publish} does not exist yet: {exc}"
        if options.kind == "kafka":
            # It exists, so this compares it with the settings, as a service does at its start, and creates nothing.
            await bus.ensure_topics([each for each in options.topics.all() if each.name == options.topics.publish])
    return f"{options.kind}; {options.topics.publish} has {len(kept)} partitions"


async def _source(name: str, options: AnySource) -> str:
    """Probe a source, or open it at its beginning and poll once, without a commit: this changes nothing upstream."""
    if isinstance(options, Probing) and (said := await options.probe(name)):
        return said
    opening = build_source(name, options, SYSTEM_CLOCK, random.Random())  # noqa: S311 -- trace ids that are not used
    async with opening({}) as source:
        batch = await source.poll(1)
    if batch.problems:
        raise TrelayError("; ".join(batch.problems))
    if batch.rejects:
        raise TrelayError(f"the first input is not an event: {batch.rejects[0].error}")
    return "an event can be read" if batch.records else "nothing to read yet"


async def _mail(options: SmtpOptions) -> str:
    await probe_mail(options)
    host, port = options.address
    return f"{host}:{port}, {options.security}"
