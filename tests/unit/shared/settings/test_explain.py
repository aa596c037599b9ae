from typing import Annotated, Any, Literal

import pytest
from pydantic import Discriminator, Field, IPvAnyNetwork, StringConstraints, field_validator

from shared.errors import SettingsError
from shared.settings import Options, Secret, parse


class File(Options):
    kind: Literal["file"]
    path: str = Field(min_length=2, max_length=10)
    channel: str | None = Field(default=None, pattern="^[a-z]+$")
    file: int = 0


class Table(Options):
    kind: Literal["table"]
    interval: float = Field(default=1.0, gt=0, lt=100)
    table: str = Field(default="orders", min_length=1)
    batch: int = Field(default=10, ge=1, le=1000)
    columns: list[str] = Field(default=["a"], min_length=1, max_length=2)


Name = Annotated[str, StringConstraints(pattern="^[a-z]+$")]


class System(Options):
    sources: dict[Name, Annotated[File | Table, Discriminator("kind")]] = Field(default_factory=dict)
    mode: Literal["safe", "fast"] = "safe"
    either: int | list[int] = 1
    tls: bool = False
    network: IPvAnyNetwork | None = None
    limits: Table | None = None
    token: Secret | None = None

    @field_validator("token", mode="after")
    @classmethod
    def _no_spaces(cls, token: Any) -> Any:
        if token is not None and " " in token.get_secret_value():
            raise ValueError(f"no spaces in {token.get_secret_value()!r}, please")
        return token


class Settings(Options):
    system: System = System()


def refused(yaml: str, **env: str) -> str:
    with pytest.raises(SettingsError) as caught:
        parse(yaml, Settings, env, name="f.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("system", "said"),
    [
        ("tls: yes", "system.tls: expected true or false, found 'yes'"),
        ("tls: 1", "system.tls: expected true or false, found 1"),
        ("either: '5'", "system.either: expected a list; or expected a whole number, found '5'"),
        ("either: true", "system.either: expected a list; or expected a whole number, found true"),
        ("either: ['5']", "system.either.0: expected a whole number, found '5'"),
        ("limits: {kind: table, batch: '5'}", "system.limits.batch: expected a whole number, found '5'"),
        ("limits: {kind: table, interval: '1.5'}", "system.limits.interval: expected a number, found '1.5'"),
        ("limits: {kind: table, interval: true}", "system.limits.interval: expected a number, found true"),
        ("limits: {kind: table, interval: .inf}", "system.limits.interval: expected a finite number, found Infinity"),
        (
            "sources: {o: {kind: file, path: ab, file: '5'}}",
            "system.sources.o.file: expected a whole number, found '5'",
        ),
        (
            "sources: {o: {kind: file, path: ab, chanel: x}}",
            "system.sources.o.chanel: unknown key 'chanel'; did you mean 'channel'?",
        ),
        ("sources: {o: {kind: file, path: ab, zzz: x}}", "unknown key 'zzz'; known here: channel, file, kind, path"),
        ("sources: {o: {kind: file}}", "system.sources.o.path: is required"),
        ("sources: {o: {path: x}}", "system.sources.o.kind: is required"),
        ("sources: {o: {kind: fiel, path: x}}", "system.sources.o.kind: unknown kind 'fiel'; did you mean 'file'?"),
        ("sources: {o: {kind: 7, path: x}}", "system.sources.o.kind: unknown kind 7; one of: file, table"),
        ("sources: {o: nothing}", "system.sources.o: expected a mapping, found 'nothing'"),
        ("sources: {o: {kind: file, path: ab, file: x}}", "system.sources.o.file: expected a whole number, found 'x'"),
        ("sources: {o: {kind: table, table: t, batch: 0}}", "system.sources.o.batch: must be at least 1, found 0"),
        ("sources: {o: {kind: table, table: ''}}", "system.sources.o.table: expected at least 1 characters, found ''"),
        ("sources: {o: {kind: file, path: a}}", "path: expected at least 2 characters, found 'a'"),
        ("sources: {o: {kind: file, path: abcdefghijkl}}", "path: expected at most 10 characters"),
        (
            "sources: {o: {kind: file, path: 12}}",
            "path: expected text (in quotes, if it looks like something else), found 12",
        ),
        ("sources: {o: {kind: file, path: ab, channel: A}}", "expected text of the form ^[a-z]+$, found 'A'"),
        ("sources: {o: {kind: table, interval: 0}}", "system.sources.o.interval: must be above 0.0, found 0"),
        ("sources: {o: {kind: table, interval: 100}}", "must be below 100.0, found 100"),
        ("sources: {o: {kind: table, interval: soon}}", "expected a number, found 'soon'"),
        ("sources: {o: {kind: table, interval: {}}}", "expected a number, found a mapping"),
        ("sources: {o: {kind: table, batch: 1.5}}", "expected a whole number, found 1.5"),
        ("sources: {o: {kind: table, batch: 0}}", "must be at least 1, found 0"),
        ("sources: {o: {kind: table, batch: 1001}}", "must be at most 1000, found 1001"),
        ("sources: {o: {kind: table, columns: a}}", "expected a list, found 'a'"),
        ("sources: {o: {kind: table, columns: []}}", "expected at least 1 entries, found a list"),
        ("sources: {o: {kind: table, columns: [a, 1]}}", "system.sources.o.columns.1: expected text"),
        ("limits: {kind: table, batsch: 1}", "system.limits.batsch: unknown key 'batsch'; did you mean 'batch'?"),
        (
            "sources: {Or: {kind: table}}",
            "system.sources.Or: the key itself: expected text of the form ^[a-z]+$, found 'Or'",
        ),
        ("mode: slow", "system.mode: expected 'safe' or 'fast', found 'slow'"),
        ("either: x", "system.either: expected a whole number, found 'x'; or expected a list, found 'x'"),
        ("network: 10.0.0.0/99", "system.network: value is not a valid IPv4 or IPv6 network"),
        ("tls: maybe", "system.tls: expected true or false, found 'maybe'"),
        ("tls: null", "system.tls: expected true or false, found nothing"),
        (f"mode: {'x' * 200}", "found '" + "x" * 59 + "…"),
    ],
)
def test_each_fault_is_a_sentence_with_its_path(system: str, said: str) -> None:
    report = refused(f"system:\n  {system}")
    assert said in report
    assert report.startswith("f.yaml:2:")
    assert "\n" not in report


@pytest.mark.parametrize("jargon", ["input", "Value error", "pydantic", "extra_forbidden", "type="])
def test_speaks_no_jargon(jargon: str) -> None:
    report = refused(
        "system: {sources: {o: {kind: file}, p: 1}, mode: 1, either: x, tls: 5.5, limits: x, token: [], x: 1}"
    )
    assert jargon not in report
    assert report.count("\n") == 7


def test_a_text_from_the_environment_may_stand_for_any_value() -> None:
    text = "system: {tls: '${TLS}', either: '${EITHER:-5}', limits: {kind: table, interval: '${INTERVAL}'}}"
    system = parse(text, Settings, {"TLS": "yes", "INTERVAL": "1.5"}).system
    assert (system.tls, system.either) == (True, 5)
    assert system.limits is not None
    assert system.limits.interval == 1.5


def test_never_repeats_a_secret() -> None:
    for token in ("'hunter 2'", "[hunter]", "{file: hunter}"):
        assert "hunter 2" not in refused(f"system: {{token: {token}}}")
    assert "no spaces in '***', please" in refused("system: {token: hunter 2}")


def test_never_repeats_what_came_from_the_environment() -> None:
    report = refused("system: {mode: '${MODE}'}", MODE="hunter2")
    assert "hunter2" not in report
    assert "expected 'safe' or 'fast', found a value that is not shown" in report
    report = refused("system: {sources: {o: {kind: '${KIND}'}}}", KIND="hunter2")
    assert report.endswith("system.sources.o.kind: unknown kind (not shown); one of: file, table")
