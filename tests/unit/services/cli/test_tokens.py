import click
import pytest

from services.cli import main
from services.cli.tokens import sendable

CONTEXT = click.Context(click.Command("command"))
OPTION = click.Option(["--token"])


@pytest.mark.parametrize("value", [None, "", "abc-DEF_1.2~3+/="])
def test_a_token_is_taken_as_it_is(value: str | None) -> None:
    assert sendable(CONTEXT, OPTION, value) == value


@pytest.mark.parametrize("value", ["hunter2\n", "hunter2\r", "\0hunter2", "hunter2\udc80"])
def test_what_a_header_cannot_carry_is_refused_without_being_shown(value: str) -> None:
    with pytest.raises(click.BadParameter, match="control character") as caught:
        sendable(CONTEXT, OPTION, value)
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    ("variable", "command"),
    [
        ("TRELAY_OPERATOR_TOKEN", ["explain", "orders:1", "--client", "billing"]),
        ("TRELAY_OPERATOR_TOKEN", ["sources", "list"]),
        ("TRELAY_OPERATOR_TOKEN", ["pipelines", "list"]),
        ("TRELAY_OPERATOR_TOKEN", ["dead-letters", "counts"]),
        ("TRELAY_OPERATOR_TOKEN", ["status"]),
        ("TRELAY_PRODUCER_TOKEN", ["probe", "--client-id", "demo", "--client-secret", "demo"]),
        ("TRELAY_TOKEN", ["subscribe"]),
        ("TRELAY_CLIENT_SECRET", ["subscribe", "--client-id", "demo"]),
        ("TRELAY_CLIENT_SECRET", ["probe", "--client-id", "demo"]),
    ],
)
def test_every_command_refuses_it_before_it_connects(
    variable: str, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, "hunter2\n")
    assert main(command) == 2
    said = capsys.readouterr()
    assert "control character" in said.err
    assert "hunter2" not in said.err + said.out
