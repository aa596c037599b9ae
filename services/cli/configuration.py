"""The options that name the settings file or a data folder, and the database that these name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from services.standalone.embedded.postgres import PostgresOptions, PostgresServer
from shared.composition.settings import DatabaseSettings
from shared.database.options import DatabaseOptions
from shared.errors import SettingsError
from shared.settings import load

F = TypeVar("F", bound=Callable[..., Any])


def config_option(command: F) -> F:
    """Add `--config FILE`, which the environment can set as well."""
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


def data_option(command: F) -> F:
    """Add `--data FOLDER`."""
    return click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="FOLDER",
        help="Instead of a settings file: the data folder of `make run` or `trelay run` on this machine.",
    )(command)


def database(config: Path, data: Path | None) -> DatabaseOptions:
    """Return the database of the settings file, or the one that `trelay run` keeps in a data folder.

    Raises:
        SettingsError: the file is wrong, or the folder has no database.
    """
    if data is None:
        try:
            return load(config, DatabaseSettings).database
        except SettingsError as exc:
            if config.exists():
                raise
            raise SettingsError(f"{exc}; expected --config with a settings file, or --data with a data folder") from exc
    try:
        return DatabaseOptions(url=PostgresServer(PostgresOptions(data / "postgres")).dsn())
    except FileNotFoundError as exc:
        raise SettingsError(f"{data} contains no database of `trelay run`: {exc.filename} is missing") from exc
    except OSError as exc:
        raise SettingsError(f"{exc.filename} cannot be read: {exc.strerror}") from exc
