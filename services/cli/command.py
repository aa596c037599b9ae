"""The command itself: its subcommands, and how it ends.

Exit status: 0, done; 1, it could not be done; 2, asked wrongly, or the settings are wrong; 130, interrupted.
"""

from collections.abc import Sequence
from importlib import import_module

import click

from shared.errors import SettingsError, TrelayError

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
    try:
        status = trelay.main(args=arguments, prog_name="trelay", standalone_mode=False)
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except SettingsError as exc:
        click.echo(exc, err=True)
        return ASKED_WRONGLY
    except TrelayError as exc:
        click.echo(f"trelay: {exc}", err=True)
        return FAILED
    return status if isinstance(status, int) else OK
