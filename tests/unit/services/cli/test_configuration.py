from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from services.cli.configuration import config_option


@click.command()
@config_option
def show(config: Path) -> None:
    click.echo(repr(config))


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        ([], {}, "trelay.yaml"),
        ([], {"TRELAY_CONFIG": "/etc/trelay.yaml"}, "/etc/trelay.yaml"),
        (["-c", "mine.yaml"], {"TRELAY_CONFIG": "/etc/trelay.yaml"}, "mine.yaml"),
        (["--config", "mine.yaml"], {}, "mine.yaml"),
    ],
)
def test_the_option_comes_before_the_environment(
    arguments: list[str], environment: dict[str, str], expected: str
) -> None:
    output = CliRunner().invoke(show, arguments, env={"TRELAY_CONFIG": None, **environment}).output
    assert output == f"{Path(expected)!r}\n"
