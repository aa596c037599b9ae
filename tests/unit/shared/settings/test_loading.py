import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from shared.errors import SettingsError
from shared.settings import Finding, Options, RelativePath, Secret, load, load_placed, parse, parse_placed


class Database(Options):
    url: Secret
    pool: int = 10


class System(Options):
    inbox: RelativePath | None = None
    limits: dict[str, list[float]] = Field(default_factory=dict)
    anything: Any = None


class Settings(Options):
    database: Database
    system: System = System()


WORKING = """\
database:
  url: postgresql://trelay:${PASSWORD}@db/trelay
  pool: ${POOL:-5}
system:
  inbox: inbox
experience:
  of: {another: service}
"""


def test_a_service_reads_its_sections_and_leaves_the_others(tmp_path: Path) -> None:
    file = tmp_path / "trelay.yaml"
    file.write_text(WORKING)
    settings = load(file, Settings, {"PASSWORD": "x{y"})
    assert settings.database.url.get_secret_value() == "postgresql://trelay:x{y@db/trelay"
    assert settings.database.pool == 5
    assert settings.system.inbox == tmp_path / "inbox"


def test_variables_of_other_services_need_not_be_set() -> None:
    text = "database: {url: x}\nexperience: {secret: '${ELSEWHERE}'}"
    assert parse(text, Settings, {}).database.pool == 10


def test_an_empty_section_means_the_same_as_an_absent_one() -> None:
    assert parse("database: {url: x}\nsystem:\n", Settings, {}).system == System()


def test_all_faults_are_reported_in_the_order_of_the_file() -> None:
    text = "sytem: {}\ndatabase:\n  pool: many\n  pool: 2\n  url: ${UNSET}\nsystem:\n  limts: {}\n"
    with pytest.raises(SettingsError) as caught:
        parse(text, Settings, {}, name="trelay.yaml")
    assert str(caught.value).splitlines() == [
        "trelay.yaml:1:1: sytem: unknown key 'sytem'; did you mean 'system'?",
        "trelay.yaml:3:3: database.pool: expected a whole number, found 'many'",
        "trelay.yaml:4:3: database.pool: key 'pool' is already given on line 3",
        (
            "trelay.yaml:5:3: database.url: the environment variable UNSET is not set; '${UNSET:-…}' "
            "would give it a default"
        ),
        "trelay.yaml:7:3: system.limts: unknown key 'limts'; did you mean 'limits'?",
    ]


def test_a_key_that_belongs_into_a_section_is_told_so() -> None:
    with pytest.raises(SettingsError, match=r"limits: unknown key 'limits'; did you mean 'system\.limits'\?$"):
        parse("database: {url: x}\nlimits: {}\n", Settings, {})


def test_a_required_section_that_is_missing_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^settings:1:1: database: is required$"):
        parse("", Settings, {})


@pytest.mark.parametrize("text", ["- a list", "just text", "42"])
def test_the_top_holds_sections(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^settings:1:1: expected sections \(database, bus"):
        parse(text, Settings, {})


def test_a_key_cannot_forge_a_line_of_the_report() -> None:
    with pytest.raises(SettingsError) as caught:
        parse('database: {url: x}\n"bad\\nf.yaml:1:1: all is well": 1', Settings, {})
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file"),
        (b"a: 1\nb: \xff", "trelay.yaml:2: the settings file is not UTF-8 text"),
        (b"#" * 1_048_577, "is larger than 1048576 bytes"),
        (b"database: [", "trelay.yaml:1:12: not YAML"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(content: bytes | None, said: str, tmp_path: Path) -> None:
    file = tmp_path / "trelay.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=said):
        load(file, Settings, {})


def test_findings_are_placed_in_the_order_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "trelay.yaml"
    file.write_text("system:\n  inbox: there\ndatabase: {url: x}")
    loaded = load_placed(file, Settings, {})
    found = [
        Finding(("database", "pool"), "is small"),
        Finding(("system", "inbox"), "is\nfull"),
        Finding((), "is short"),
    ]
    assert loaded.lines(found, "warning: ") == [
        f"{file}:1:1: warning: is short",
        f"{file}:2:3: warning: system.inbox: is\\x0afull",
        f"{file}:3:1: warning: database.pool: is small",
    ]
    assert not loaded.empty


@pytest.mark.parametrize("text", ["", "{}", "system:", "system: {}\nexperience: {a: 1}"])
def test_a_file_without_settings_is_empty(text: str) -> None:
    assert parse_placed(text.encode(), System, {}, name="f", folder=Path()).empty


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    file = tmp_path / "trelay.yaml"
    file.write_bytes(b"\xef\xbb\xbfdatabase: {url: x}")
    assert load(file, Settings, {}).database.pool == 10


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.sampled_from(["url", "pool", "inbox", "limits", "file"]) | st.text(), inner)
    ),
    max_leaves=8,
)
_files = st.dictionaries(st.sampled_from(["database", "system", "bus"]) | st.text(), _values).map(repr)


@given(st.text() | _files)
def test_any_text_gives_a_model_or_a_settings_error(text: str) -> None:
    with contextlib.suppress(SettingsError):
        assert isinstance(parse(text, Settings, {}), Settings)


def test_the_files_whose_content_belongs_to_the_settings_are_named(tmp_path: Path) -> None:
    class Files(Options):
        path: RelativePath
        secret: Secret
        absent: Secret | None = None

    file = tmp_path / "trelay.yaml"
    (tmp_path / "token").write_text("t")
    file.write_text("path: data.csv\nsecret: {file: token}")
    found: set[Path] = set()
    load(file, Files, {}, files=found)
    assert found == {file, tmp_path / "token"}

    file.write_text("path: data.csv\nsecret: {file: token}\nabsent: {file: absent}")
    with pytest.raises(SettingsError, match="absent"):
        load(file, Files, {}, files=found)
    assert found == {file, tmp_path / "token", tmp_path / "absent"}
