from pathlib import Path

import click
import pytest
import trustme

from services.cli.arguments import ca_context, patterns_of
from shared.errors import SettingsError

COMMAND = click.Command("command")
OPTION = click.Option(["--channels"])


@pytest.mark.parametrize(
    ("value", "patterns"), [(None, ()), ("a", ("a",)), (" a.* ,b,", ("a.*", "b")), ("a, ,b", ("a", "b"))]
)
def test_a_list_is_taken_apart(value: str | None, patterns: tuple[str, ...]) -> None:
    assert patterns_of(click.Context(COMMAND), OPTION, value) == patterns


@pytest.mark.parametrize("value", ["", " ", ",", " , "])
def test_a_list_that_names_nothing_is_refused(value: str) -> None:
    with pytest.raises(click.BadParameter, match="names no channel"):
        patterns_of(click.Context(COMMAND), OPTION, value)


def test_the_authorities_of_a_file_are_trusted(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ca_context(tmp_path / "ca.pem")
    assert context is not None
    assert len(context.get_ca_certs()) == 1
    assert ca_context(None) is None


def test_a_file_without_certificates_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(SettingsError, match="contains no certificates"):
        ca_context(tmp_path / "ca.pem")
