"""The file of examples that `trelay test` runs, and the comparison of what is expected with what happens."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from pydantic import AfterValidator, Field, JsonValue

from services.cli.pipelines.mocks import Mock
from services.process_api.dry_run import Result
from shared.expression import exact
from shared.settings import Name, Options, RelativePath

_decode = msgspec.json.Decoder(dict[str, Any]).decode


_TICK = "tick"


def tick_of(given: Mapping[str, Any]) -> float | None:
    """Return the seconds by which `{tick: …}` moves the clock on; None for an event."""
    return given[_TICK] if len(given) == 1 and _TICK in given else None


def _given(given: dict[str, JsonValue]) -> dict[str, JsonValue]:
    seconds = given[_TICK] if len(given) == 1 and _TICK in given else 0
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= _LONGEST_TICK:
        raise ValueError(f"tick: found {json.dumps(seconds)[:40]}; expected seconds, such as {{tick: 60}}")
    return given


_LONGEST_TICK = 86_400 * 366 * 100


class Example(Options):
    """Given events, and what they must become."""

    name: Annotated[str, Field(min_length=1)]
    """A sentence that says what holds."""

    pipeline: Name
    """The pipeline of the settings file that runs."""

    given: Annotated[list[Annotated[dict[str, JsonValue], AfterValidator(_given)]], Field(min_length=1)]
    """The attributes of each event, `data` among them. Required attributes that are missing are added. `{tick: 60}` in
    the place of an event moves the clock on by so many seconds."""

    mocks: list[Mock] = Field(default_factory=list)
    """What look-ups and calls get, in the place of answers of other systems; each mock must be used."""

    expect: list[dict[str, JsonValue]] = Field(default_factory=list)
    """The events that must be published, in order. Only the attributes that are named here are compared; `channel` is
    one of them."""

    dead_letters: list[str] = Field(default_factory=list)
    """The errors of the dead letters that must be written, in order; `*` stands for any characters."""

    held: str | None = None
    """Why the partition waits in the end, such as `steps.0.enrich: *503*`. By default it must not wait."""


class ExampleFile(Options):
    """One file of examples."""

    config: RelativePath | None = None
    """The settings file with the pipelines. The default is that of the command."""

    mocks: list[Mock] = Field(default_factory=list)
    """Mocks for all examples; those of an example come before them."""

    tests: Annotated[list[Example], Field(min_length=1)]
    """The examples."""


def difference(example: Example, results: Sequence[Result], held: str | None = None) -> str:
    """Return how the results of the given events differ from what an example expects; empty where they agree.

    `held` says why the partition waits in the end.
    """
    events = [_decode(event.value or b"") for result in results for event in result.events]
    errors = [letter.error for result in results for letter in result.dead_letters]
    lines: list[str] = []
    expected = [_comparable(event) for event in example.expect]
    found = [
        event if number >= len(expected) else _named(event, expected[number]) for number, event in enumerate(events)
    ]
    if exact.comparable(expected) != exact.comparable(found):
        lines += _diff(map(_pretty, expected), map(_pretty, found), "events")
    if not _agree(example.dead_letters, errors):
        lines += _diff(example.dead_letters, errors, "dead letters")
    if not _agree([] if example.held is None else [example.held], [] if held is None else [held]):
        lines += _diff([example.held or "nothing"], [held or "nothing"], "held")
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
