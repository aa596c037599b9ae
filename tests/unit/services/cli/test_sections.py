import pytest

from services.cli.sections import whole
from shared.errors import SettingsError
from shared.settings import Options, json_schema, parse


class Database(Options):
    url: str


class System(Options):
    sources: dict[str, int]


class SystemSettings(Options):
    database: Database
    system: System


class ExperienceSettings(Options):
    database: Database
    experience: Database


WHOLE = whole([SystemSettings, ExperienceSettings], own=["system", "experience"])


def test_every_section_is_checked_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        parse("database: {ulr: x}\nsystem: {sources: {a: b}}\nexperience: {}", WHOLE, {})
    assert [line.partition(": ")[2] for line in str(caught.value).splitlines()] == [
        "database.url: is required",
        "database.ulr: unknown key 'ulr'; did you mean 'url'?",
        "system.sources.a: expected a whole number, found 'b'",
        "experience.url: is required",
    ]


def test_a_service_that_is_not_in_the_file_is_not_missed() -> None:
    found = parse("database: {url: x}\nsystem: {sources: {a: 1}}", WHOLE, {})
    assert found.model_dump() == {"database": {"url": "x"}, "system": {"sources": {"a": 1}}, "experience": None}


def test_what_services_share_is_required() -> None:
    with pytest.raises(SettingsError, match="database: is required"):
        parse("", WHOLE, {})


def test_the_schema_has_them_all() -> None:
    assert set(json_schema(WHOLE)["properties"]) == {"database", "system", "experience"}
