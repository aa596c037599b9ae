"""`trelay run`: runs everything on this machine."""

from pathlib import Path

import click

from services.standalone import one_process


@click.command("run", short_help="Run everything on this machine, until Ctrl-C.")
@click.option("-c", "--config", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", envvar="TRELAY_CONFIG",
              show_envvar=True, help="The settings file; without it, the examples.")  # fmt: skip
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER", default=Path("var"),
              show_default=True, envvar="TRELAY_DATA", show_envvar=True, help="The folder for all data.")  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, envvar="TRELAY_PORT",
              show_envvar=True, help="The port for subscribers on 127.0.0.1; 0 takes a free one.")  # fmt: skip
def run_everything(config: Path | None, data: Path, port: int) -> int:
    """Run the three services in one process, on a PostgreSQL of their own, until Ctrl-C.

    It is the same as `make run`. Started again, it resumes where it stopped.

    \b
    Examples:
      trelay run
      trelay run --config trelay.yaml --data /var/lib/trelay
    """  # noqa: D301 -- click's mark against rewrapping
    return one_process.run_standalone(one_process.Command(data.resolve(), port, config))
