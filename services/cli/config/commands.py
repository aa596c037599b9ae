"""`trelay config`: shows the settings as they are resolved, and all defaults."""

import json
from pathlib import Path

import click

from services.cli.config import defaults, origins, rendering
from services.cli.configuration import config_option
from services.standalone.settings import WholeSettings
from shared.settings import load_placed


@click.group("config", short_help="Show settings, where each comes from, and all defaults.")
def config_group() -> None:
    """Show settings, where each comes from, and all defaults."""


@config_group.command(short_help="Show the settings as they are resolved.")
@config_option
@click.option("--section", metavar="NAME", help="Only this part of the file, such as experience.listen.")
@click.option("--changed", is_flag=True, help="Leave out defaults.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(config: Path, *, section: str | None, changed: bool, as_json: bool) -> None:
    """Show every setting with its value and its origin: the file, a variable of the environment, or a default.

    Secrets are masked, and so are values of variables whose names look like those of secrets. The output is YAML.

    \b
    Examples:
      trelay config show --changed
      trelay config show --config trelay.yaml --section experience.listen
    """  # noqa: D301 -- click's mark against rewrapping
    found = [
        value
        for value in origins.values(load_placed(config, WholeSettings))
        if (section is None or f"{origins.text(value.path)}.".startswith(f"{section}."))
        and not (changed and value.origin == origins.DEFAULT)
    ]
    if section is not None and not found and not changed:
        raise click.UsageError(f"--section: found {section!r}; expected a path in the settings, such as system.listen")
    if as_json:
        listed = [{"path": origins.text(path), "value": value, "origin": origin} for path, value, origin in found]
        click.echo(json.dumps(listed, indent=2, ensure_ascii=False))
        return
    for line in rendering.lines(found):
        click.echo(line)


@config_group.command("default", short_help="Print a settings file of all defaults.")
def print_defaults() -> None:
    """Print a settings file of all defaults, with the description of each setting.

    The file is valid. Sources, pipelines and lists of steps are empty: `trelay schema` describes their settings.
    """
    for line in defaults.lines(WholeSettings):
        click.echo(line)
