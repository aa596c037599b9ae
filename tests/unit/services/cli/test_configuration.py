from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from services.cli.configuration import config_option, database
from shared.errors import SettingsError


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


def test_a_data_folder_names_its_database(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    folder.mkdir()
    (folder / "port").write_text("12345")
    (folder / "password").write_text("s3cret\n")
    options = database(tmp_path / "absent.yaml", tmp_path)
    assert options.url == "postgresql://trelay@127.0.0.1:12345/trelay"
    assert options.password is not None
    assert options.password.get_secret_value() == "s3cret"


def test_a_folder_without_a_database_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"contains no database of `trelay run`: .* is missing"):
        database(tmp_path / "absent.yaml", tmp_path)


def test_where_there_is_no_file_the_options_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"No such file or directory; expected --config .*, or --data"):
        database(tmp_path / "absent.yaml", None)
