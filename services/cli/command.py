"""The command `trelay`: its subcommands and its exit status.

Exit status: 0, done; 1, failed; 2, wrong usage or wrong settings; 130, interrupted.
"""

from collections.abc import Sequence
from importlib import import_module

import click

from services.standalone.terminal import mute
from shared.errors import SettingsError, TrelayError
from shared.runtime.run import fill_standard_streams

OK, FAILED, USAGE_ERROR, INTERRUPTED = 0, 1, 2, 130

COMMANDS = {
    "run": ("running", "run_everything", "Run everything on this machine, until Ctrl-C."),
    "check": ("check.commands", "check", "Check settings files."),
    "schema": ("check.commands", "schema", "Print the JSON Schema of the settings file, for editors."),
    "config": ("config.commands", "config_group", "Show settings, where each comes from, and all defaults."),
    "eval": ("pipelines.evaluation", "evaluate", "Try an expression or a pipeline on sample events."),
    "test": ("pipelines.testing", "test", "Run the examples kept beside the pipelines."),
    "preview": ("pipelines.previewing", "preview", "See what a pipeline would publish, on real events."),
    "migrate": ("migrating", "migrate_database", "Migrate the tables of the database to the newest revision."),
    "clients": ("clients", "clients", "Add, list, change, rotate, disable and remove clients."),
    "connections": ("connections", "connections", "Show which consumers are connected, on all replicas."),
    "status": ("status.commands", "show_status", "Show the whole deployment on one screen."),
    "sources": ("sources.commands", "sources", "List, pause, resume, poll and rewind sources."),
    "pipelines": ("pipelines.operating", "pipelines", "List, pause, resume and rewind pipelines."),
    "dead-letters": ("dead_letters.commands", "dead_letters", "Count, list, show, replay and drop dead letters."),
    "slots": ("slots", "slots", "Show, create and drop replication slots of sources."),
    "subscribe": ("subscribing", "subscribe_and_print", "Subscribe, and print each event as one line of JSON."),
    "probe": ("probing", "probe", "Send an event through the whole path, and wait for it."),
    "explain": ("explaining", "explain", "Explain why a client did or did not get an event."),
}
"""By command: its module, its name there, and its line in the list of commands."""


class _LazyGroup(click.Group):
    """Imports a subcommand when it is used, so that nothing else waits for the imports of the services."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- as click calls it
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- the same
        if cmd_name not in COMMANDS:
            return None
        module, name, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(f"services.cli.{module}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 -- the same
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])


_EPILOG = """\b
Examples:
  trelay run                                     run everything on this machine, with examples
  trelay check trelay.yaml --live                check the file, and probe the systems that it names
  trelay eval '$sum(lines.price)' samples.ndjson
                                                 try an expression on sample events
  trelay test                                    run the examples kept beside the pipelines
  trelay preview --pipeline orders --last 100    what a changed pipeline would publish
  trelay status                                  the whole deployment on one screen
  trelay sources list                            every source, with its state and owner
  trelay dead-letters list --since 2h            what failed lately, and why
  trelay explain orders:4711:2 --client billing  why a client did or did not get an event
  trelay clients add billing --channels 'orders.**'
  trelay subscribe --client-id billing --channels 'orders.**' --cursor-file billing.cursor
"""


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=_EPILOG,
)
@click.version_option(package_name="trelay", message="%(prog)s %(version)s")
def trelay() -> None:
    """Streams changes in upstream systems to WebSocket subscribers, exactly once.

    trelay COMMAND --help describes a command.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit status; an error is one sentence on standard error."""
    fill_standard_streams()
    try:
        status = trelay.main(args=arguments, prog_name="trelay", standalone_mode=False)
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except (TrelayError, OSError) as exc:
        return _status_of(exc)
    return status if isinstance(status, int) else OK


def _status_of(error: TrelayError | OSError) -> int:
    if isinstance(error, SettingsError):
        click.echo(error, err=True)
        return USAGE_ERROR
    if isinstance(error, TrelayError):
        click.echo(f"trelay: {error}", err=True)
        return FAILED
    mute()  # the error may be that standard output cannot be written
    click.echo(f"trelay: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", err=True)
    return FAILED
