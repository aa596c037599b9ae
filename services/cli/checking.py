"""`trelay check` and `trelay schema`: what the settings file may say, and whether this one is right."""

import asyncio
import json
import random
from functools import partial
from pathlib import Path

import click

from services.cli import wiring
from services.cli.probing import Probe, outcomes
from services.experience_api.settings import ExperienceOptions
from services.process_api.check import faults as pipeline_faults
from services.process_api.settings import ProcessOptions
from services.system_api.build import AnySource, build_source
from services.system_api.settings import SystemOptions
from shared.alerts import AlertOptions, SmtpOptions
from shared.alerts import probe as probe_mail
from shared.bus.connect import connect
from shared.bus.options import BusOptions
from shared.bus.postgres import PostgresBusOptions
from shared.clock import SYSTEM_CLOCK
from shared.database.connections import Connections
from shared.database.options import DatabaseOptions
from shared.errors import SettingsError, TrelayError
from shared.logs import LogOptions
from shared.settings import Options, json_schema, load
from shared.tls import Certificate, TlsOptions


class WholeSettings(Options):
    """All sections of the file. One that is absent is as the service that reads it would have it."""

    database: DatabaseOptions = DatabaseOptions()
    """The PostgreSQL that holds registrations, leases and, with `bus.kind: postgres`, the bus."""

    bus: BusOptions = PostgresBusOptions()
    """What carries events between the layers: Kafka or PostgreSQL."""

    alerts: AlertOptions = AlertOptions()
    """Mails to the operators."""

    logs: LogOptions = LogOptions()
    """The log of each process."""

    system: SystemOptions = SystemOptions()
    """The system layer: sources."""

    process: ProcessOptions = ProcessOptions()
    """The process layer: pipelines."""

    experience: ExperienceOptions = ExperienceOptions()
    """The experience layer: subscribers."""


@click.command(short_help="Check a settings file: all faults at once.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), envvar="TRELAY_CONFIG", default="trelay.yaml")
@click.option(
    "--live", is_flag=True, help="Also ask what the file names: database, bus, sources, certificates, mail server."
)
@click.option(
    "--within", type=click.FloatRange(min=0.1), default=15.0, show_default=True, help="Seconds to wait for answers."
)
def check(file: Path, *, live: bool, within: float) -> int:
    """Check a settings file: every section, all faults at once, each with its place.

    With --live, a line for each thing that the file names says whether it answers. Nothing is written and nothing is
    taken from a source. Exit status: 0, all is well; 1, something does not answer; 2, the file is wrong.

    \b
    Examples:
      trelay check trelay.yaml
      trelay check trelay.yaml --live
    """  # noqa: D301 -- click's mark against rewrapping
    settings = load(file, WholeSettings)
    pipelines = settings.process.pipelines
    sources = settings.system.sources
    if faults := pipeline_faults(pipelines) + wiring.faults(sources, pipelines):
        raise SettingsError("\n".join(f"{file}: {fault}" for fault in faults))
    for doubt in wiring.doubts(sources, pipelines):
        click.echo(f"{file}: warning: {doubt}", err=True)
    click.echo(f"{file} is right")
    return asyncio.run(_ask(_probes(settings), within)) if live else 0


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
    for name, listen in (
        ("system", settings.system.listen),
        ("process", settings.process.listen),
        ("experience", settings.experience.listen),
    ):
        if listen.tls is not None:
            probes[f"certificate of {name}"] = partial(_certificate, listen.tls)
    if settings.alerts.smtp is not None:
        probes["mail server"] = partial(_mail, settings.alerts.smtp)
    return probes


async def _database(options: DatabaseOptions) -> str:
    async with Connections.opened(options, size=1, purpose="check") as connections, connections.use() as connection:
        version = await connection.fetchval("SHOW server_version")
    return f"PostgreSQL {version} at {options.place.removeprefix('database ')}"


async def _bus(options: BusOptions, database: DatabaseOptions) -> str:
    async with connect(options, database) as bus:
        try:
            kept = await bus.bounds(options.topics.publish)
        except TrelayError as exc:
            return f"{options.kind}; {options.topics.publish} is not there yet: {exc}"
    return f"{options.kind}; {options.topics.publish} has {len(kept)} partitions"


async def _source(name: str, options: AnySource) -> str:
    """Open it at its beginning and look once: reading moves nothing, only what follows a commit would."""
    opening = build_source(name, options, SYSTEM_CLOCK, random.Random())  # noqa: S311 -- trace ids that nobody sees
    async with opening({}) as source:
        batch = await source.poll(1)
    if batch.trouble:
        raise TrelayError("; ".join(batch.trouble))
    if batch.rejects:
        raise TrelayError(f"what comes first is no event: {batch.rejects[0].error}")
    return "an event can be read" if batch.records else "nothing to read yet"


async def _certificate(options: TlsOptions) -> str:
    await asyncio.to_thread(Certificate, options)
    return str(options.certificate)


async def _mail(options: SmtpOptions) -> str:
    await probe_mail(options)
    host, port = options.address
    return f"{host}:{port}, {options.security}"
