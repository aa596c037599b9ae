"""`trelay check` and `trelay schema`: what the settings file may say, and whether this one is right."""

import asyncio
import json
import os
import random
import sys
from functools import partial
from pathlib import Path

import click

from services.cli import certificates, exposure, wiring
from services.cli.probing import Probe, outcomes
from services.process_api.pipeline.check import faults as pipeline_faults
from services.standalone.settings import WholeSettings
from services.system_api.sources.registry import AnySource, build_source
from shared.alerts import SmtpOptions
from shared.alerts import probe as probe_mail
from shared.bus.connect import BusOptions, connect
from shared.database.options import DatabaseOptions
from shared.database.pool import ConnectionPool
from shared.errors import SettingsError, TrelayError
from shared.runtime.clock import SYSTEM_CLOCK
from shared.settings import SECTIONS, Finding, Loaded, json_schema, load_placed, parse_placed

_WRONG = 2
_MORE_THAN_A_FILE = 2 * 1_048_576
"""Bytes that are read of standard input: above the limit for settings, so that a stream without end is refused."""


_CONFIG = "TRELAY_CONFIG"
_STANDARD_INPUT = "-"


@click.command(short_help="Check settings files: all faults at once.")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("-c", "--config", multiple=True, metavar="FILE", help="A settings file, as other commands take it.")
@click.option("--live", is_flag=True, help="Also ask what the file names: database, bus, sources, mail server.")
@click.option(
    "--within", type=click.FloatRange(min=0.1), default=15.0, show_default=True, help="Seconds to wait for answers."
)
def check(files: tuple[str, ...], *, config: tuple[str, ...], live: bool, within: float) -> int:
    """Check settings files, each by itself: every section, all faults at once, each with its place.

    FILE is a settings file, or - for standard input; without one, the file that TRELAY_CONFIG names, else trelay.yaml.

    With --live, a line for each thing that the file names says whether it answers. Nothing is written and nothing is
    taken from a source. Exit status: 0, all is well, but for warnings; 1, something does not answer; 2, a file is
    wrong.

    \b
    Examples:
      trelay check trelay.yaml
      trelay check trelay.yaml --live
      trelay check system.yaml process.yaml
    """  # noqa: D301 -- click's mark against rewrapping
    named = [*files, *config] or [os.environ.get(_CONFIG) or "trelay.yaml"]
    return max(_checked(file, within if live else None) for file in named)


def _checked(file: str, within: float | None) -> int:
    """Check one file and return the exit status; ask what it names, where `within` says for how many seconds."""
    try:
        loaded = _load(file)
        warnings = _judged(loaded)
    except SettingsError as exc:
        click.echo(exc, err=True)
        return _WRONG
    for warning in warnings:
        click.echo(warning, err=True)
    count = f", {len(warnings)} warning{'s' if len(warnings) > 1 else ''}" if warnings else ""
    click.echo(f"{loaded.name}: OK{count}")
    return 0 if within is None else asyncio.run(_ask(_probes(loaded.settings), within))


def _load(file: str) -> Loaded[WholeSettings]:
    if file != _STANDARD_INPUT:
        return load_placed(Path(file), WholeSettings)
    content = b"" if sys.stdin is None else sys.stdin.buffer.read(_MORE_THAN_A_FILE)
    return parse_placed(content, WholeSettings, name="<stdin>", folder=Path.cwd())


def _judged(loaded: Loaded[WholeSettings]) -> list[str]:
    """Return the warnings as lines.

    Raises:
        SettingsError: a line for each fault.
    """
    settings = loaded.settings
    sources, pipelines = settings.system.sources, settings.process.pipelines
    if loaded.empty:
        expected = f"expected at least one section: {', '.join(SECTIONS)} (`trelay schema` describes them)"
        raise SettingsError("\n".join(loaded.lines([Finding((), f"no settings; {expected}")])))
    faults = [*pipeline_faults(pipelines), *wiring.faults(sources, pipelines), *certificates.faults(settings)]
    if faults:
        raise SettingsError("\n".join(loaded.lines(faults)))
    return loaded.lines([*wiring.doubts(sources, pipelines), *exposure.doubts(settings)], "warning: ")


@click.command()
def schema() -> None:
    """Print the JSON Schema of the settings file, for editors.

    \b
    Example: in VS Code with the YAML extension, begin the file with
      # yaml-language-server: $schema=trelay.schema.json
    after
      trelay schema > trelay.schema.json
    """  # noqa: D301 -- as above
    click.echo(json.dumps(json_schema(WholeSettings), indent=2, ensure_ascii=False))


async def _ask(probes: dict[str, Probe], within: float) -> int:
    width = max(map(len, probes))
    failed = False
    async for outcome in outcomes(probes, within):
        click.echo(outcome.line(width))
        failed = failed or not outcome.works
    return 1 if failed else 0


def _probes(settings: WholeSettings) -> dict[str, Probe]:
    probes: dict[str, Probe] = {
        "database": partial(_database, settings.database),
        "bus": partial(_bus, settings.bus, settings.database),
    }
    for name, options in settings.system.sources.items():
        probes[f"source {name}"] = partial(_source, name, options)
    if settings.alerts.smtp is not None:
        probes["mail server"] = partial(_mail, settings.alerts.smtp)
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
            return f"{options.kind}; {options.topics.publish} is not there yet: {exc}"
    return f"{options.kind}; {options.topics.publish} has {len(kept)} partitions"


async def _source(name: str, options: AnySource) -> str:
    """Open it at its beginning and look once: reading moves nothing, only what follows a commit would."""
    opening = build_source(name, options, SYSTEM_CLOCK, random.Random())  # noqa: S311 -- trace ids that are not used
    async with opening({}) as source:
        batch = await source.poll(1)
    if batch.problems:
        raise TrelayError("; ".join(batch.problems))
    if batch.rejects:
        raise TrelayError(f"what comes first is no event: {batch.rejects[0].error}")
    return "an event can be read" if batch.records else "nothing to read yet"


async def _mail(options: SmtpOptions) -> str:
    await probe_mail(options)
    host, port = options.address
    return f"{host}:{port}, {options.security}"
