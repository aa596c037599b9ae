from typing import Annotated, Any, Literal, Self

import pytest
from pydantic import Discriminator, Field, IPvAnyNetwork, StringConstraints, field_validator, model_validator

from shared.errors import SettingsError
from shared.settings import Form, Options, Secret, json_schema, parse


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


class Times(Options):
    poll: float = 1.5
    """Seconds between polls."""
    wait_hours: float = 24
    """How long it waits."""
    kept_for_days_or_more: int | None = None
    limit: int = Field(default=1024, ge=1)
    """Bytes of the largest."""
    failures_per_second: float = 2
    """How fast they come back."""


class Pair(Options):
    cert: str | None = None
    key: str | None = None
    ca: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.key is not None and self.cert is None:
            raise ValueError("cert: is needed for the key")
        if self.key == self.cert == "":
            raise ValueError("cert, key: both are empty")
        if self.ca is not None:
            raise ValueError(f"{self.ca}: no authority")
        return self


Name = Annotated[str, StringConstraints(pattern="^[a-z]+$")]


class System(Options):
    sources: dict[Name, Annotated[File | Table, Discriminator("kind")]] = Field(default_factory=dict)
    mode: Literal["safe", "fast"] = "safe"
    either: int | list[int] = 1
    tls: bool = False
    network: IPvAnyNetwork | None = None
    limits: Table | None = None
    token: Secret | None = None
    times: Times | None = None
    pair: Pair | None = None
    names: Annotated[tuple[str, ...], Field(min_length=1, max_length=2)] = ("a",)
    pairs: dict[str, int] = Field(default={}, min_length=2)
    named: Annotated[str, Form("^[a-z]+$", "a name of lower-case letters")] | None = None
    by_name: dict[Annotated[str, Form("^[a-z]+$", "a name of lower-case letters")], int] = Field(default_factory=dict)

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
        ("sources: {o: {kind: table, table: ''}}", "system.sources.o.table: expected at least one character, found ''"),
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
        ("sources: {o: {kind: table, interval: {}}}", "expected a number, found an empty mapping"),
        ("sources: {o: {kind: table, batch: 1.5}}", "expected a whole number, found 1.5"),
        ("sources: {o: {kind: table, batch: 0}}", "must be at least 1, found 0"),
        ("sources: {o: {kind: table, batch: 1001}}", "must be at most 1000, found 1001"),
        ("sources: {o: {kind: table, columns: a}}", "expected a list, found 'a'"),
        ("sources: {o: {kind: table, columns: []}}", "expected at least one entry, found an empty list"),
        ("sources: {o: {kind: table, columns: [a, b, c]}}", "expected at most 2 entries, found 3"),
        ("pairs: {a: 1}", "system.pairs: expected at least 2 entries, found 1"),
        ("pairs: {}", "system.pairs: expected at least 2 entries, found an empty mapping"),
        ("times: {poll: 5s}", "system.times.poll: expected seconds as a number, such as 5, found '5s'"),
        ("times: {poll: 2 min}", "expected seconds as a number, such as 120, found '2 min'"),
        ("times: {poll: 1h}", "expected seconds as a number, such as 3600, found '1h'"),
        ("times: {poll: 500ms}", "expected seconds as a number, such as 0.5, found '500ms'"),
        ("times: {poll: soon}", "expected seconds as a number, such as 1.5, found 'soon'"),
        ("times: {poll: {}}", "expected seconds as a number, such as 1.5, found an empty mapping"),
        ("times: {wait_hours: 7d}", "expected hours as a number, such as 168, found '7d'"),
        ("times: {kept_for_days_or_more: 2w}", "expected days as a whole number, such as 14, found '2w'"),
        ("times: {limit: 1MiB}", "expected bytes as a whole number, such as 1048576, found '1MiB'"),
        ("times: {limit: 64 kB}", "expected bytes as a whole number, such as 64000, found '64 kB'"),
        ("times: {limit: 1.5k}", "expected bytes as a whole number, such as 1500, found '1.5k'"),
        ("times: {limit: 5s}", "expected bytes as a whole number, such as 1024, found '5s'"),
        ("times: {limit: 1.5}", "expected bytes as a whole number, such as 1024, found 1.5"),
        ("times: {failures_per_second: 5s}", "expected a number, found '5s'"),
        ("named: Clicks_1", "system.named: expected a name of lower-case letters, found 'Clicks_1'"),
        ('named: "a\\n"', "system.named: expected a name of lower-case letters, found 'a\\n'"),
        ("by_name: {Clicks_1: 1}", "the key itself: expected a name of lower-case letters, found 'Clicks_1'"),
        ("sources: {o: {kind: table, columns: [a, 1]}}", "system.sources.o.columns.1: expected text"),
        ("names: [1]", "f.yaml:2:11: system.names.0: expected text"),
        ("cert: x", "system.cert: unknown key 'cert'; did you mean 'pair.cert'?"),
        ("batch: 1", "system.batch: unknown key 'batch'; did you mean 'limits.batch'?"),
        ("mod: x", "system.mod: unknown key 'mod'; did you mean 'mode'?"),
        ("key: x", "system.key: unknown key 'key'; did you mean 'pair.key'?"),
        ("limits: {kind: table, batsch: 1}", "system.limits.batsch: unknown key 'batsch'; did you mean 'batch'?"),
        (
            "sources: {Or: {kind: table}}",
            "system.sources.Or: the key itself: expected text of the form ^[a-z]+$, found 'Or'",
        ),
        ("pair: {key: x}", "f.yaml:2:3: system.pair.cert: is needed for the key"),
        ("pair: {key: x, cert: y, ca: zzz}", "f.yaml:2:3: system.pair: zzz: no authority"),
        ("pair: {cert: '', key: ''}", "f.yaml:2:10: system.pair.cert: cert, key: both are empty"),
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
    report = refused("system: {named: '${NAME}', times: {poll: '${POLL}'}}", NAME="Hunter2", POLL="17s")
    assert "Hunter2" not in report
    assert "17" not in report
    assert "system.named: expected a name of lower-case letters, found a value that is not shown" in report


def test_an_editor_knows_the_form_of_values_and_keys() -> None:
    system = json_schema(Settings)["$defs"]["System"]["properties"]
    assert "^[a-z]+$" in str(system["named"])
    assert "^[a-z]+$" in system["by_name"]["patternProperties"]


@pytest.mark.parametrize("password", ["hunter2", "hunter2@1", "hunter2:3"])
def test_never_repeats_the_password_of_a_url(password: str) -> None:
    class Urls(Options):
        formed: Annotated[str, Form(r"^https://", "a URL that begins with https")]
        checked: str
        number: int

        @field_validator("checked")
        @classmethod
        def check(cls, value: str) -> str:
            raise ValueError(f"found {value!r}; expected host:port")

    class Root(Options):
        system: Urls

    url = f"http://me:{password}@host:80/path"
    with pytest.raises(SettingsError) as raised:
        parse(f"system: {{formed: '{url}', checked: '{url}', number: '{url}'}}", Root, {})
    assert "hunter2" not in str(raised.value)
    assert str(raised.value).count("http://me:***@host:80/path") == 3
