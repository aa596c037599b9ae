"""Which letters a command is about: its options, and what they become in a request."""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import click

from shared.errors import SettingsError
from shared.runtime.clock import SYSTEM_CLOCK

_AGO = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_FILTERS = ("pipeline", "source", "stage", "error", "since", "until")
F = TypeVar("F", bound=Callable[..., Any])


def filter_options(command: F) -> F:
    """Add the options that filter letters."""
    for option in (
        click.option("--until", metavar="TIME", help="Written before: RFC 3339, or '2h' for two hours ago."),
        click.option("--since", metavar="TIME", help="Written at this time or later; as --until."),
        click.option("--error", metavar="TEXT", help="A part of the error, in any case; '*' is any characters."),
        click.option(
            "--stage",
            help="'pipeline': events that one refused; 'source': input that was no event; 'entity': events that "
            "`POST /entity` refused.",
        ),
        click.option("--source", help="The source of the input; '*' is any characters."),
        click.option("--pipeline", help="The pipeline that refused it, by name or name@version; '' for none."),
    ):
        command = option(command)
    return command


def decision_options(command: F) -> F:
    """Add what says which letters are decided on, and how."""
    for option in (
        click.option("-y", "--yes", is_flag=True, help="Do not ask."),
        click.option("--dry-run", is_flag=True, help="Show what would happen, and change nothing."),
        click.option("--reason", default="", help="Why; it is kept with the decision."),
        click.option("--all", "everything", is_flag=True, help="All open letters."),
        filter_options,
    ):
        command = option(command)
    return click.argument("ids", nargs=-1, metavar="[ID]...")(command)


def selection(ids: tuple[str, ...], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a request that say which letters it is about, and why."""
    filters = filters_of({name: more[name] for name in _FILTERS})
    if sum((bool(ids), bool(filters), more["everything"])) != 1:
        raise click.UsageError("which letters? Expected IDs, or a filter such as --pipeline, or --all")
    body: dict[str, Any] = {"ids": list(ids)} if ids else {"all": True} if more["everything"] else dict(filters)
    return body | ({"reason": more["reason"]} if more["reason"] else {})


def filters_of(given: Mapping[str, str | None]) -> dict[str, str]:
    """Return the filters that were given, as the endpoints take them."""
    found = {name: value for name, value in given.items() if value is not None}
    return found | {name: _time(found[name]) for name in ("since", "until") if name in found}


def _time(text: str) -> str:
    """Return a time as the endpoints take it, of one that may be so long ago."""
    ago = _AGO.fullmatch(text)
    if ago is None:
        return text
    try:
        return (SYSTEM_CLOCK.now() - timedelta(**{_UNITS[ago[2]]: int(ago[1])})).isoformat()
    except OverflowError as exc:
        raise SettingsError(f"found {text!r}; expected a time within the calendar") from exc
