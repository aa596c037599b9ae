import subprocess
import sys
from typing import ClassVar

from pydantic import BaseModel, Field

from shared.settings import WithDescriptions, descriptions


class Base(BaseModel):
    kept: int = 1
    """Of the base,
    in two lines.
    """
    redeclared: int = 1
    """Not said of the other field."""
    silent: int = 1
    explicit: int = Field(default=1, description="As the field says.")
    """Not this."""


class Derived(Base):
    """Not a description of a field."""

    redeclared: int = 2
    own: int = Field(default=1, alias="named")
    """By its alias."""
    constant: ClassVar[str] = "x"
    """No field."""


def test_the_docstring_below_a_field_describes_it() -> None:
    assert descriptions(Base) == {
        "kept": "Of the base,\nin two lines.",
        "redeclared": "Not said of the other field.",
        "explicit": "As the field says.",
    }


def test_a_derived_model_has_those_of_its_base_except_of_what_it_declares_again() -> None:
    assert descriptions(Derived) == {
        "kept": "Of the base,\nin two lines.",
        "explicit": "As the field says.",
        "own": "By its alias.",
    }


def test_the_schema_shows_them_by_the_names_of_a_file() -> None:
    properties = Derived.model_json_schema(schema_generator=WithDescriptions)["properties"]
    assert {name: shown.get("description") for name, shown in properties.items()} == {
        "kept": "Of the base,\nin two lines.",
        "redeclared": None,
        "silent": None,
        "explicit": "As the field says.",
        "named": "By its alias.",
    }


def test_settings_are_loaded_without_reading_them() -> None:
    code = (
        "import services.experience_api.settings as settings\n"
        "from shared.settings import descriptions, parse\n"
        "parse('', settings.ExperienceSettings, {})\n"
        "raise SystemExit(descriptions.cache_info().misses)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
