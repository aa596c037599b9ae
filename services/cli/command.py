"""The command itself: its subcommands, and how it ends.

Exit status: 0, done; 1, it could not be done; 2, asked wrongly, or the settings are wrong; 130, interrupted.
"""

from collections.abc import Sequence
from importlib import import_module

import click

from services.standalone.terminal import mute
from shared.errors import SettingsError, TrelayError
from shared.runtime.run import fill_standard_streams

OK, FAILED, ASKED_WRONGLY, INTERRUPTED = 0, 1, 2, 130

_COMMANDS = {
    "run": ("running", "run_everything"),
    "check": ("checking", "check"),
    "schema": ("checking", "schema"),
    "migrate": ("migrating", "migrate_database"),
    "clients": ("clients", "clients"),
    "subscribe": ("subscribing", "subscribe_and_print"),
}
"""Where each command is: module and name."""


class _WhenAskedFor(click.Group):
    """Imports a command when it is asked for: a subscriber need not wait for all that the services need."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- as click calls it
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- the same
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(f"services.cli.{module}"), name)
        return command


_EPILOG = """\b
Examples:
  trelay run                                     everything on this machine, with examples to watch
  trelay check trelay.yaml --live                is the file right, and does what it names answer?
  trelay clients add billing --channels 'orders.**'
  trelay subscribe --client-id billing --channels 'orders.**' --cursor-file billing.cursor
"""


@click.group(
    cls=_WhenAskedFor,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=_EPILOG,
)
@click.version_option(package_name="trelay", message="%(prog)s %(version)s")
def trelay() -> None:
    """Moves what changes upstream to WebSocket subscribers, exactly once.

    Each command explains itself: trelay COMMAND --help.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit status; what went wrong is said in a sentence on standard error."""
    fill_standard_streams()
    try:
        status = trelay.main(args=arguments, prog_name="trelay", standalone_mode=False)
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except (TrelayError, OSError) as exc:
        return _ended_by(exc)
    return status if isinstance(status, int) else OK


def _ended_by(error: TrelayError | OSError) -> int:
    if isinstance(error, SettingsError):
        click.echo(error, err=True)
        return ASKED_WRONGLY
    if isinstance(error, TrelayError):
        click.echo(f"trelay: {error}", err=True)
        return FAILED
    mute()  # it may be our output that cannot be written
    click.echo(f"trelay: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", err=True)
    return FAILED
