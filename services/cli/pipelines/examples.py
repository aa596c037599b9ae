"""The file of examples that `trelay test` runs, and the comparison of what is expected with what happens."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from pydantic import Field, JsonValue

from services.process_api.dry_run import Result
from shared.settings import Name, Options, RelativePath

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Example(Options):
    """Given events, and what they must become."""

    name: Annotated[str, Field(min_length=1)]
    """A sentence that says what holds."""

    pipeline: Name
    """The pipeline of the settings file that runs."""

    given: Annotated[list[dict[str, JsonValue]], Field(min_length=1)]
    """The attributes of each event, `data` among them. Required attributes that are missing are added."""

    expect: list[dict[str, JsonValue]] = Field(default_factory=list)
    """The events that must be published, in order. Only the attributes that are named here are compared; `channel` is
    one of them."""

    dead_letters: list[str] = Field(default_factory=list)
    """The errors of the dead letters that must be written, in order; `*` stands for any characters."""


class ExampleFile(Options):
    """One file of examples."""

    config: RelativePath | None = None
    """The settings file with the pipelines. The default is that of the command."""

    tests: Annotated[list[Example], Field(min_length=1)]
    """The examples."""


def difference(example: Example, results: Sequence[Result]) -> str:
    """Return how the results of the given events differ from what an example expects; empty where they agree."""
    events = [_decode(event.value or b"") for result in results for event in result.events]
    errors = [letter.error for result in results for letter in result.dead_letters]
    lines: list[str] = []
    expected = [_comparable(event) for event in example.expect]
    found = [
        event if number >= len(expected) else _named(event, expected[number]) for number, event in enumerate(events)
    ]
    if expected != found:
        lines += _diff(map(_pretty, expected), map(_pretty, found), "events")
    if not _agree(example.dead_letters, errors):
        lines += _diff(example.dead_letters, errors, "dead letters")
    return "\n".join(lines)


def _comparable(event: Mapping[str, JsonValue]) -> dict[str, Any]:
    """Return an expected event in the form in which events are decoded."""
    return _decode(json.dumps(event).encode())


def _named(event: Mapping[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an event that are expected."""
    return {name: value for name, value in event.items() if name in expected}


def _agree(patterns: Sequence[str], errors: Sequence[str]) -> bool:
    return len(patterns) == len(errors) and all(
        re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), error, re.DOTALL)
        for pattern, error in zip(patterns, errors, strict=True)
    )


def _pretty(event: Mapping[str, Any]) -> str:
    return json.dumps(event, indent=2, ensure_ascii=False, sort_keys=True)


def _diff(expected: Iterable[str], found: Iterable[str], what: str) -> list[str]:
    before = [line for text in expected for line in text.splitlines()]
    after = [line for text in found for line in text.splitlines()]
    return [
        f"{what} (-: expected, +: found)",
        *list(difflib.unified_diff(before, after, lineterm="", n=100))[3:],
    ]
