import yaml
from pydantic import BaseModel

from services.cli.config import defaults
from services.standalone.settings import WholeSettings
from shared.settings import Options, Secret, parse


class Inner(Options):
    size: int = 4
    """How much."""


class Part(Options):
    inner: Inner = Inner(size=5)
    maybe: Inner | None = None
    """May be absent."""
    either: Inner | int | None = None
    needed: str
    secret: Secret | None = None


class Empty(Options):
    nothing: str | None = None


class Model(Options):
    part: Part | None = None
    empty: Empty = Empty()
    listed: tuple[int, ...] = (1, 2)


def _text(model: type[BaseModel]) -> str:
    return "\n".join(defaults.lines(model))


def test_every_setting_stands_with_its_default_or_behind_a_mark() -> None:
    body = _text(Model).partition("\n\n")[2].splitlines()
    assert body == [
        "#part:",
        "#  inner:",
        "#    # How much.",
        "#    size: 5",
        "#  # May be absent.",
        "#  maybe:",
        "#    # How much.",
        "#    size: 4",
        "#  either:",
        "#    # How much.",
        "#    size: 4",
        "#  needed: …",
        "#  secret: …",
        "",
        "#empty:",
        "#  nothing: …",
        "",
        "listed: [1, 2]",
    ]


def test_the_file_of_all_settings_is_valid_and_changes_nothing() -> None:
    text = _text(WholeSettings)
    assert yaml.safe_load(text).keys() == WholeSettings.model_fields.keys()
    assert parse(text, WholeSettings, {}) == WholeSettings()
