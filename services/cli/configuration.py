"""The option `--config`, and the parts of the file that a command reads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def config_option(command: F) -> F:
    """Add `--config FILE`, which may stand in the environment as well."""
    return click.option(
        "-c",
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        default=Path("trelay.yaml"),
        show_default=True,
        envvar="TRELAY_CONFIG",
        show_envvar=True,
        help="The settings file.",
    )(command)
