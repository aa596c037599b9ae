import click
import pytest

from services.cli.patterns import patterns_of

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
